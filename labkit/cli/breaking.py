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
    print_json,
    print_table,
    running,
    say,
    seconds,
)
from labkit.faults import VERBS, Faults, NotReached, Verb, mend, points
from labkit.home import Home
from labkit.runtime.injection.standing import FaultBook

#: Ctrl-C, kill, a terminal that is closed, Ctrl-\\.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@app.command()
def failpoints(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List every failpoint: where a process can be made to fail, and how often it was crossed.

    Example: `labkit failpoints --json`
    """
    found = points.list_all(Home(home).make())
    if as_json:
        return print_json(found)
    return print_table(
        "failpoints",
        [
            {
                "name": one["name"],
                "actions": ", ".join(one["actions"]),
                "hits": one["hits"],
                "armed": one["armed"] and f"{one['armed']['action']} × {one['armed']['times']}",
            }
            for one in found
        ],
    )


@app.command()
def fault(
    name: Annotated[
        str | None, typer.Argument(help="The failpoint: service.step.boundary.")
    ] = None,
    action: Annotated[
        str | None, typer.Argument(help="crash, refuse, delay:SECONDS, stall:SECONDS or duplicate.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    times: Annotated[int, typer.Option(min=1, help="How many crossings it acts on.")] = 1,
    clear: Annotated[bool, typer.Option("--clear", help="Disarm all.")] = False,
) -> None:
    """Arm a failpoint, or disarm all with `--clear`.

    Example: `labkit fault order.confirm_pre_order.before_commit refuse --times 2`
    """
    place = Home(home).make()
    if clear == bool(name or action):
        raise ValueError("write either: labkit fault NAME ACTION, or: labkit fault --clear")
    if clear:
        points.disarm(place)
        mend(place, everything=True)
        FaultBook(place.faults).remove()
        return say("all failpoints are disarmed, and no other fault is left")
    if not (name and action):
        raise ValueError("write: labkit fault NAME ACTION; see: labkit failpoints")
    points.arm(place, name, action, times)
    return say(f"{name} will {action} {times} time(s)")


@app.command()
def lose_broker(
    home: HomeOption = DEFAULT_HOME,
    seed: Annotated[
        int | None, typer.Option(help="Lose only a random tail of each partition, drawn with it.")
    ] = None,
) -> None:
    """Make the broker forget what it had acknowledged, and say how many records that were.

    Example: `labkit lose-broker --seed 7`
    """
    lost = Faults(running(home)).lose_broker(seed)
    say(f"records that the broker lost: {lost}")


@app.command("break", context_settings={"ignore_unknown_options": True})
def break_(
    verb: Annotated[
        str | None, typer.Argument(help="The fault; without it, all are listed.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="What the fault is told.")] = None,
    home: HomeOption = DEFAULT_HOME,
    lasts: Annotated[
        float | None,
        typer.Option("--for", parser=seconds, help="Seconds that it lasts; until Ctrl-C."),
    ] = None,
) -> None:
    """Break something for a while, mend it, say how often that was met; exit 1 if never.

    Example: `labkit break paused goods --for 5`
    """
    if verb is None:
        return print_table(
            "faults", [{"labkit break": one.usage, "what": one.says} for one in VERBS.values()]
        )
    found = VERBS.get(verb.replace("-", "_"))
    if found is None:
        raise ValueError(f"{verb}: there is no such fault; there are {', '.join(VERBS)}")
    return _hold(Faults(running(home)), found, arguments or [], lasts)


def _is_heard(number: signal.Signals) -> bool:
    """Return False for the hangup that `nohup` has us not hear."""
    return number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


def _hold(faults: Faults, verb: Verb, texts: list[str], lasts: float | None) -> None:
    """Have a fault for so long, or until we are told to stop; it is mended either way."""
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = [(number, signal.signal(number, note)) for number in _ENDINGS if _is_heard(number)]
    try:
        with getattr(faults, verb.name)(*verb.read(texts)) as reach:
            until = "Ctrl-C" if lasts is None else f"{lasts:g} s are over"
            say(f"{' '.join((verb.name, *texts))}: it is broken until {until}")
            stop.wait(lasts)
    except NotReached as error:
        say(f"mended; not reached: {error}")
        raise typer.Exit(1) from None
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    say(f"mended; it was met {reach.times} time(s)")
