"""What all commands share: the application, the home option, how things are printed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from labkit.home import Home
from labkit.lab.data import Reader
from labkit.stack import launch
from labkit.stack.control import NotUp

app = typer.Typer(
    name="labkit",
    help="A running shop that teaches how data stays right when any step fails.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

HomeOption = Annotated[
    Path, typer.Option("--home", help="Where the lab lives.", envvar="LABKIT_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_HOME = Path(".lab")


def running(folder: Path) -> Home:
    """The home in a folder, in which a lab must be up.

    Raises:
        NotUp: it is not; says how to start it.
    """
    home = Home(folder)
    if not launch.is_up(home):
        raise NotUp(f"no lab is up in {home.folder}: start one with: labkit up --home {folder}")
    return home


def reading(folder: Path) -> Reader:
    """A reader of a home's databases, up or not.

    Raises:
        NotUp: the home has none yet; says how to make them.
    """
    home = Home(folder)
    if not home.filled():
        raise NotUp(f"there are no databases in {home.folder}: labkit up --home {folder}")
    return Reader(home)


def say(text: str) -> None:
    """Print a line as it is: the terminal wraps it, not we, so that it can be copied."""
    console.print(text, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, without colours or line breaks of the terminal."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> None:
    """Print rows as a table; nothing is cut, long cells are folded."""
    columns = columns or tuple(rows[0] if rows else ())
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("–" if row[column] is None else str(row[column]) for column in columns))
    console.print(table if rows else f"[bold]{title}[/bold]: nothing")
