"""The parts that all commands share: the application, the home option, output."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from labkit.cli.display import make_console, show_table
from labkit.home import Home
from labkit.printable import printable, printable_json

if TYPE_CHECKING:
    from labkit.ops.reader import Reader

app = typer.Typer(
    name="labkit",
    help="A running shop that teaches how data stays right when any step fails.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = make_console()
app.callback()(lambda: None)  # else Typer takes the name of the only command for its argument

HomeOption = Annotated[
    Path, typer.Option("--home", help="Folder of the lab.", envvar="LABKIT_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_HOME = Path(".lab")
#: Default number of the rows of a table that are shown at once.
PAGE = 50
_MAX_S = 30 * 86_400


def number_between(least: float, most: float) -> Callable[[str], float]:
    """Make a parser of an option: a number in a range; Click's own accepts `nan`."""

    def number(text: str) -> float:
        try:
            if least <= float(text) <= most:
                return float(text)
        except ValueError:
            pass
        raise typer.BadParameter(f"{text!r} is no number from {least:.12g} to {most:.12g}.")

    return number


#: Parses an option that is a number of seconds to wait.
seconds = number_between(0, _MAX_S)


def running_home(folder: Path) -> Home:
    """Return the home in a folder, in which a lab must be up.

    Raises:
        NotUp: no lab is up there; says how to start one.
    """
    home = Home(folder)
    from labkit.stack.supervisor.control import NotUp
    from labkit.stack.supervisor.holder import is_up

    if not is_up(home):
        raise NotUp(f"no lab is up in {home.folder}: start one with: labkit up{at(folder)}")
    mend_abandoned(home)
    return home


def endpoints_of(folder: Path) -> dict[str, str]:
    """Return the endpoints of a lab.

    Raises:
        NotUp: no lab is up there, or one is just being started; says how to wait for it.
    """
    home = running_home(folder)
    from labkit.stack.supervisor import launch
    from labkit.stack.supervisor.control import NotUp

    endpoints = launch.status(home)["endpoints"]
    if not endpoints["order-web"]:
        raise NotUp(f"the lab in {home.folder} is just coming up: wait for labkit up{at(folder)}")
    return endpoints


def mend_abandoned(home: Home) -> None:
    """Mend the faults of tools that were killed before they could mend them, and report that."""
    if not any(home.standing.glob("*.json")):
        return
    from labkit.faults import mend  # it takes a second to load, and there is seldom anything

    for text in mend(home):
        typer.echo(f"labkit: left broken by a tool that was killed: {printable(text)}", err=True)


def open_reader(folder: Path) -> "Reader":
    """Open the databases of a home, whether its lab is up or not.

    Where the lab runs a later release, the command is carried out by that one from here on.

    Raises:
        NotUp: the home has no databases yet; says how to make them.
    """
    home = Home(folder)
    if not home.filled():
        from labkit.stack.supervisor.control import NotUp

        raise NotUp(f"there are no databases in {home.folder}: labkit up{at(folder)}")
    if home.releases.is_dir():
        from labkit.stack.releases.newest import hand_over

        hand_over(home)
    from labkit.ops.reader import Reader

    mend_abandoned(home)
    return Reader(home)


def at(folder: Path) -> str:
    """Return the option that names a home, as it can be typed into a shell."""
    return "" if folder == DEFAULT_HOME else f" --home {shlex.quote(str(folder))}"


def echo(text: str, style: str = "") -> None:
    """Print a line as it is: the terminal wraps it, not we, so that it can be copied.

    Args:
        text: for people; it may contain any data.
        style: of the whole line, such as `bold`.
    """
    console.print(Text(printable(text, lines=True), style=style), soft_wrap=True)


@contextmanager
def show_progress(activity: str) -> Iterator[Callable[[str], None]]:
    """Show an activity that takes time; yields a function that shows the next one."""
    with console.status(Text(printable(activity))) as status:
        yield lambda text: status.update(Text(printable(text)))


def print_json(value: object) -> None:
    """Print a value as JSON, without colours or line breaks of the terminal."""
    typer.echo(printable_json(json.dumps(value, indent=1, ensure_ascii=False, default=str)))


def print_table(
    title: str, rows: Sequence[Mapping[str, object]], columns: tuple[str, ...] = ()
) -> None:
    """Print rows as a table: in a pipe each on one line, on a screen with long texts folded."""
    if not rows:
        return console.print(Text.assemble((printable(title), "bold"), ": nothing"))
    return show_table(console, title, rows, columns or tuple(rows[0]))
