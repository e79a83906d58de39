"""Deviations: what differs in one life from the calm one, in which nothing fails or is late.

Whatever can fail asks at that moment, under a name: the runtime at its failpoints, the simulated
broker at its own points. The answer is nearly always that nothing happens. So a life is told by the
few answers that were others, and can be lived again from them (delay-bounded scheduling: Emmi,
Qadeer and Rakamaric, POPL 2011).
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from labkit.sim.process import Process
from labkit.sim.recording import Record

#: Answer to a question: nothing happens.
CALM = ""
#: What the points begin with at which a customer may pause, and how often one does.
CUSTOMERS = "customer."
_PAUSES = 0.25
#: Which crossing of a point is aimed at, and which turn of a process.
CROSSINGS, TURNS = (1, 1, 1, 2, 2, 3, 4), range(1, 151)


class Deviation(NamedTuple):
    """Something that happens at one crossing of a point.

    Attributes:
        point: name of the point, as `order.deduct_stock.before_call`.
        crossing: which crossing of it in this life, from 1.
        action: what happens, as `crash` or `delay:1.5`.
    """

    point: str
    crossing: int
    action: str

    def __str__(self) -> str:
        """Return it as a token has it."""
        return f"{self.point}#{self.crossing}={self.action}"

    @classmethod
    def parse(cls, text: str) -> "Deviation":
        """Read what `str` wrote.

        Raises:
            ValueError: it is no deviation.
        """
        where, equals, action = text.partition("=")
        point, hash_, crossing = where.partition("#")
        if not (equals and hash_ and point and action and crossing.isdecimal()):
            raise ValueError(f"{text!r} is no deviation: write POINT#CROSSING=ACTION")
        return cls(point, int(crossing), action)


class Chooser(Protocol):
    """Chooses what happens."""

    def choose(self, point: str, crossing: int, actions: Sequence[str]) -> str:
        """Choose one of the actions, or `CALM`."""
        ...

    def planned_at(self, point: str) -> Mapping[int, str]:
        """Return crossing → action at a point that is crossed too often to be asked about."""
        ...


class Planned:
    """A plan: what stands in it happens, and nothing else.

    Args:
        plan: the deviations.
    """

    def __init__(self, plan: Iterable[Deviation] = ()) -> None:
        self._actions: Mapping[tuple[str, int], str] = {
            (deviation.point, deviation.crossing): deviation.action for deviation in plan
        }

    def choose(self, point: str, crossing: int, actions: Sequence[str]) -> str:
        """Choose what was planned, if it can happen there."""
        action = self._actions.get((point, crossing), CALM)
        return action if action in actions else CALM

    def planned_at(self, point: str) -> Mapping[int, str]:
        """Return what stands in it for a point."""
        return {
            crossing: action for (name, crossing), action in self._actions.items() if name == point
        }


class Drawn:
    """A few things happen, drawn from a seed.

    Args:
        draw: of the life.
        rate: the chance at each crossing.
        limit: deviations of a life, at most.
    """

    def __init__(self, draw: random.Random, rate: float, limit: int) -> None:
        self._draw = draw
        self._rate = rate
        self._left = limit

    def choose(self, point: str, crossing: int, actions: Sequence[str]) -> str:  # noqa: ARG002
        """Draw what happens."""
        if not self._left or self._draw.random() >= self._rate:
            return CALM
        self._left -= 1
        return self._draw.choice(actions)

    def planned_at(self, point: str) -> Mapping[int, str]:  # noqa: ARG002
        """Return nothing: all is drawn at the moment at which it happens."""
        return {}


class Aimed:
    """A few things happen, each at a point that was drawn before; what is not reached does not.

    A point that is crossed seldom is as likely as one that is crossed all the time, which it is
    not where each crossing is drawn for (swarm testing: Groce and others, 2012).

    Args:
        draw: of the life.
        targets: what happens where.
    """

    def __init__(self, draw: random.Random, targets: Iterable[Deviation]) -> None:
        self._draw = draw
        self._plan = Planned(targets)

    def choose(self, point: str, crossing: int, actions: Sequence[str]) -> str:
        """Choose what was drawn, if it can happen there; customers pause at any time."""
        if point.startswith(CUSTOMERS):
            return self._draw.choice(actions) if self._draw.random() < _PAUSES else CALM
        return self._plan.choose(point, crossing, actions)

    def planned_at(self, point: str) -> Mapping[int, str]:
        """Return what was drawn for a point."""
        return self._plan.planned_at(point)


def draw_targets(
    draw: random.Random,
    points: Mapping[str, Sequence[str]],
    number: int,
    crossings: Sequence[int] = CROSSINGS,
) -> list[Deviation]:
    """Draw what happens where.

    Args:
        draw: of the life.
        points: every point, with what can happen there.
        number: how many are drawn.
        crossings: the crossings that are drawn from.
    """
    names, targets = sorted(points), []
    for _ in range(number):
        name = draw.choice(names)
        action = draw.choice(points[name])
        targets.append(Deviation(name, draw.choice(crossings), action))
    return targets


class Decisions:
    """The questions of one life, and what was answered.

    Args:
        chooser: answers them.
        record: of the life.

    Attributes:
        record: of the life.
        now: reads the virtual clock.
        late_until: when the last of what was delayed is due.
        deviations: the answers that were not `CALM`.
        order: the crossings of points, in order.
        offered: point → what can happen there.
    """

    def __init__(self, chooser: Chooser, record: Record) -> None:
        self._chooser = chooser
        self.record = record
        self.now: Callable[[], float] = lambda: 0.0
        self.late_until = 0.0
        self.deviations: list[Deviation] = []
        self.order: list[tuple[str, int]] = []
        self._crossings: Counter[str] = Counter()
        self.offered: dict[str, Sequence[str]] = {}

    def decide(self, point: str, actions: Sequence[str]) -> str:
        """Answer what happens at a crossing of a point.

        Args:
            point: name of the point.
            actions: what can happen there.
        """
        self.offered[point] = actions
        crossing = self._crossings[point] = self._crossings[point] + 1
        self.order.append((point, crossing))
        action = self._chooser.choose(point, crossing, actions)
        if action:
            self._note(Deviation(point, crossing, action))
        return action

    def decide_turns(self, process: Process, actions: Sequence[str]) -> None:
        """Decide what happens to a process at which of its turns, and note each when it does.

        A turn is one callback: a process has hundreds, so that few preemptions are drawn before
        a life (Burckhardt and others, PCT, 2010).
        """
        point = turns_of(process.service, process.number)
        planned = self._chooser.planned_at(point).items()
        events = {turn: action for turn, action in planned if action in actions}
        process.events = events
        process.at_event(lambda turn: self._note(Deviation(point, turn, events[turn])))

    def begin(self, action: str) -> None:
        """Note that what was decided begins now: it may have had to wait for something else."""
        self.late_until = max(self.late_until, self.now() + seconds_of(action))

    def _note(self, deviation: Deviation) -> None:
        self.deviations.append(deviation)
        self.record.event(deviation.point, deviation.action)
        self.begin(deviation.action)


def turns_of(service: str, number: int) -> str:
    """Return the point that a process crosses at each of its turns."""
    return f"{service}.turn-{number}"


def seconds_of(action: str) -> float:
    """Return for how long something is delayed or paused by an action; 0 by any other."""
    verb, _, seconds = action.partition(":")
    return float(seconds) if verb in ("delay", "pause", "stall") else 0.0
