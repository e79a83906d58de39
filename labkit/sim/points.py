"""The points of a world: where something can happen in a life, and what."""

from collections.abc import Sequence

from labkit.payment_platform.wiring import PLATFORM
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.sim.broker import FATES
from labkit.sim.deviations import turns_of
from labkit.sim.failpoints import DELAYS_S, actions_of
from labkit.sim.process import MOST_AHEAD_S

#: What can be wrong with the clock of a process: it is ahead, or behind, by so many seconds. By how
#: much it is ahead, so much later an order that it left undecided is cancelled: within a life.
CLOCKS = (f"clock:{MOST_AHEAD_S}", "clock:-4")
#: What can be wrong with the platform: none of its notices ever arrives.
SILENT = "silent"
#: What can happen to a process at any of its turns: it stands still, as one that is stopped, or its
#: clock is set.
TURNS = (*(f"pause:{seconds:g}" for seconds in DELAYS_S), *CLOCKS)
#: Service or web → its line of the wiring table.
WIRED = {**SERVICES, PLATFORM.name: PLATFORM}
#: Service → its failpoints, with what can happen there.
FAILPOINTS = {name: actions_of(wired) for name, wired in WIRED.items()}


def points_of_world() -> dict[str, Sequence[str]]:
    """Return every point at which something can happen, and what."""
    points: dict[str, Sequence[str]] = {}
    for actions in FAILPOINTS.values():
        points |= actions
    points |= {f"{name}.start": starts_of(name) for name in WIRED}
    return points | {f"broker.{topic}": FATES for topic in GROUPS}


def starts_of(name: str) -> Sequence[str]:
    """Return what can be wrong with a process from its start on."""
    return (*CLOCKS, SILENT) if name == PLATFORM.name else CLOCKS


def turns_of_world(instances: int) -> dict[str, Sequence[str]]:
    """Return the turns of every process, and what can happen to it there."""
    return {
        turns_of(name, number): TURNS
        for name, wired in WIRED.items()
        for number in range(1, (instances if wired.contract else 1) + 1)
    }
