"""Commands that break: faults as verbs, failpoints, a broker that forgets."""

import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from labkit.cli.base import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    app,
    echo,
    print_json,
    print_table,
    running_home,
    seconds,
)
from labkit.faults import VERBS, Faults, NotReached, Verb, mend, points
from labkit.home import Home
from labkit.runtime.injection.failpoints import Armed
from labkit.runtime.injection.standing import FaultBook

#: Ctrl-C, kill, a terminal that is closed, Ctrl-\\.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@app.command()
def failpoints(folder: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List every failpoint: where a process can be made to fail, and how often it was crossed.

    Example: `labkit failpoints --json`
    """
    failpoints = points.list_all(Home(folder).make())
    if as_json:
        return print_json(failpoints)
    return print_table(
        "failpoints",
        [
            {
                "name": point["name"],
                "actions": ", ".join(point["actions"]),
                "hits": point["hits"],
                "armed": point["armed"] and _in_words(point["armed"]),
            }
            for point in failpoints
        ],
    )


@app.command()
def fault(
    name: Annotated[
        str | None, typer.Argument(help="Name of the failpoint: service.step.boundary.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Argument(
            help="Action: crash, refuse, delay:SECONDS, stall:SECONDS, duplicate or lose."
        ),
    ] = None,
    folder: HomeOption = DEFAULT_HOME,
    times: Annotated[int, typer.Option(min=1, help="Number of crossings on which it acts.")] = 1,
    after: Annotated[
        int, typer.Option(min=0, help="Number of crossings that go by before those.")
    ] = 0,
    clear: Annotated[
        bool, typer.Option("--clear", help="Disarm all failpoints, and end every other fault.")
    ] = False,
) -> None:
    """Arm a failpoint, or disarm all with `--clear`.

    Example: `labkit fault order.confirm_pre_order.before_commit refuse --times 2`
    """
    home = Home(folder).make()
    if clear == bool(name or action):
        raise ValueError("write either: labkit fault NAME ACTION, or: labkit fault --clear")
    if clear:
        points.disarm(home)
        mend(home, everything=True)
        FaultBook(home.faults).remove()
        return echo("all failpoints are disarmed, and no other fault is left")
    if not (name and action):
        raise ValueError("write: labkit fault NAME ACTION; see: labkit failpoints")
    points.arm(home, name, action, times, after)
    return echo(f"{name} will {action} {times} time(s){f', after {after}' if after else ''}")


@app.command()
def lose_broker(
    folder: HomeOption = DEFAULT_HOME,
    seed: Annotated[
        int | None,
        typer.Option(help="Lose only a random tail of each partition, drawn with this seed."),
    ] = None,
) -> None:
    """Make the broker forget what it had acknowledged, and say how many records that were.

    Example: `labkit lose-broker --seed 7`
    """
    lost = Faults(running_home(folder)).lose_broker(seed)
    echo(f"records that the broker lost: {lost}")


@app.command("break", context_settings={"ignore_unknown_options": True})
def break_(
    verb: Annotated[
        str | None, typer.Argument(help="Name of the fault. Without it, all are listed.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of the fault.")] = None,
    folder: HomeOption = DEFAULT_HOME,
    lasts: Annotated[
        float | None,
        typer.Option(
            "--for", parser=seconds, help="Seconds that it lasts. By default it lasts until Ctrl-C."
        ),
    ] = None,
) -> None:
    """Break something for a while, mend it, and count what it hit. Exit code 1 if nothing.

    Example: `labkit break paused goods --for 5`
    """
    if verb is None:
        return print_table(
            "faults",
            [{"labkit break": fault.usage, "what": fault.summary} for fault in VERBS.values()],
        )
    fault = VERBS.get(verb.replace("-", "_"))
    if fault is None:
        raise ValueError(f"{verb}: there is no such fault; there are {', '.join(VERBS)}")
    return _apply(Faults(running_home(folder)), fault, arguments or [], lasts)


def _in_words(arming: Armed) -> str:
    after = f", after {arming['after']} more" if arming["after"] else ""
    return f"{arming['action']} × {arming['times']}{after}"


def _is_heard(number: signal.Signals) -> bool:
    """Return False for a hangup that `nohup` makes us ignore."""
    return number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


def _apply(faults: Faults, verb: Verb, texts: list[str], lasts: float | None) -> None:
    """Apply a fault for so long, or until a signal ends us; it is mended either way."""
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = [(number, signal.signal(number, note)) for number in _ENDINGS if _is_heard(number)]
    try:
        with getattr(faults, verb.name)(*verb.parse(texts)) as reach:
            until = "Ctrl-C" if lasts is None else f"{lasts:g} s are over"
            echo(f"{' '.join((verb.name, *texts))}: it is broken until {until}")
            stop.wait(lasts)
    except NotReached as error:
        echo(f"mended; not reached: {error}")
        raise typer.Exit(1) from None
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    echo(f"mended; it was met {reach.times} time(s)")
