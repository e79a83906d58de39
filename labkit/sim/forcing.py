"""What a real lab can be made to do of what happens in a life, and by which of its own faults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labkit.faults.points import catalogue
from labkit.shop.wiring import SERVICES
from labkit.sim.deviations import CUSTOMERS, Deviation
from labkit.sim.failpoints import POWER_CUT
from labkit.sim.plan import Plan
from labkit.sim.points import SILENT

_BROKER, _START, _TURN = "broker.", ".start", ".turn-"
#: What the broker does to a record → what its sender does instead, which comes to the same.
_BY_SENDER = {"lose": "lose", "duplicate": "duplicate"}


class Means(StrEnum):
    """The means by which a real lab is made to do something."""

    FAILPOINT = "failpoint"
    POWER_CUT = "power cut"
    CLOCK = "clock"
    PAUSE = "pause"


@dataclass(frozen=True)
class Forcing:
    """A deviation, and how a real lab is made to have it.

    Attributes:
        deviation: what happens in the life.
        means: how it is forced; None where it cannot be.
        target: the failpoint, the process, or the kind of request.
        crossing: which crossing of the target, from 1.
        action: what happens there.
        obstacle: why it cannot be forced; empty where it can.
    """

    deviation: Deviation
    means: Means | None = None
    target: str = ""
    crossing: int = 1
    action: str = ""
    obstacle: str = ""

    @property
    def seconds(self) -> float:
        """Return how late, or how wrong, it makes something."""
        return float(self.action.partition(":")[2] or 0)


def forcings(plan: Plan, order: Sequence[tuple[str, int]]) -> list[Forcing]:
    """Return how each deviation of a plan is forced on a real lab.

    Args:
        plan: the plan.
        order: the crossings of points in its life, in order.
    """
    forced: list[Forcing] = []
    for deviation in plan.deviations:
        forcing = _forcing(deviation, plan, order)
        places = {(other.target, other.crossing) for other in forced if other.means}
        if forcing.means and (forcing.target, forcing.crossing) in places:
            forcing = Forcing(deviation, obstacle="something else happens at the same crossing")
        forced.append(forcing)
    return forced


def _forcing(deviation: Deviation, plan: Plan, order: Sequence[tuple[str, int]]) -> Forcing:
    point, crossing, action = deviation
    if point.startswith(CUSTOMERS):
        kind = point.removeprefix(CUSTOMERS)
        return Forcing(deviation, Means.PAUSE, kind, crossing, action)
    if point.startswith(_BROKER):
        return _by_sender(deviation, order)
    if _TURN in point:
        return Forcing(deviation, obstacle="nobody counts the turns of a real process")
    if action == SILENT:
        return Forcing(deviation, obstacle="notices of a real platform are lost one at a time")
    if point.endswith(_START):
        return _clock(deviation, plan)
    return _at_failpoint(deviation)


def _at_failpoint(deviation: Deviation) -> Forcing:
    point, crossing, action = deviation
    failpoint = catalogue().get(point)
    if failpoint is None:
        return Forcing(deviation, obstacle="there is no such failpoint")
    if action == POWER_CUT:
        return Forcing(deviation, Means.POWER_CUT, point, crossing, action)
    if action.partition(":")[0] not in failpoint.actions:
        return Forcing(deviation, obstacle="this failpoint cannot do that")
    return Forcing(deviation, Means.FAILPOINT, point, crossing, action)


def _by_sender(deviation: Deviation, order: Sequence[tuple[str, int]]) -> Forcing:
    """Let the sender of a record do what becomes of it at the simulated broker."""
    point, crossing, fate = deviation
    if fate not in _BY_SENDER:
        return Forcing(deviation, obstacle="no broker keeps a record back that it acknowledged")
    send = f".{point.removeprefix(_BROKER)}.before_send"
    if (point, crossing) in order:
        before = order[: order.index((point, crossing))]
        sends = [(failpoint, number) for failpoint, number in before if failpoint.endswith(send)]
        if crossing <= len(sends):  # records come to the broker as they were sent
            failpoint, number = sends[crossing - 1]
            return Forcing(deviation, Means.FAILPOINT, failpoint, number, _BY_SENDER[fate])
    return Forcing(deviation, obstacle="its life in the twin does not come there")


def _clock(deviation: Deviation, plan: Plan) -> Forcing:
    point, crossing, action = deviation
    service = point.removesuffix(_START)
    wired = SERVICES.get(service)
    if crossing > (plan.instances if wired and wired.contract else 1):
        return Forcing(
            deviation, obstacle="only a process that starts with the lab can have another clock"
        )
    return Forcing(deviation, Means.CLOCK, f"{service}-{crossing}", 1, action)


def obstacles(forced: Sequence[Forcing]) -> Iterator[str]:
    """Yield what of a life cannot be forced, and why."""
    for forcing in forced:
        if forcing.obstacle:
            yield f"{forcing.deviation}: {forcing.obstacle}"
