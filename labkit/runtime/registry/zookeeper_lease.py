"""A worker number for ids, leased in ZooKeeper.

What makes ids unique is the time that is reserved there, and no clock or time-out: only a process
that has seen the last version of a number's node changes it, its time only grows, no id bears a
time beyond it, and the ids of the next holder bear later ones. So a process that was stopped past
its session and wakes up can make no id that another makes: the time that it has left is its own,
and it is refused more. The ephemeral nodes only keep others off the numbers of the living.

This is the logic alone: ZooKeeper lies behind two ports.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from labkit.runtime.registry.ids import WORKERS, NothingReserved

log = logging.getLogger(__name__)

_RETRY_S = 0.2


class TooLate(Exception):
    """The refusal of a change because another changed something since we looked."""


@dataclass(frozen=True)
class Reserved:
    """The time that is reserved under a number.

    Attributes:
        since: the ids of its holder bear later times only; earlier ones may be another's.
        until: the highest time that ids may bear.
        holder: the name of the holder that reserved it.
    """

    since: int
    until: int
    holder: str


@dataclass(frozen=True)
class Number:
    """A number with what is reserved, and the version of its node: −1 if that is to be made."""

    number: int
    time: Reserved
    version: int


class Session(Protocol):
    """A session with ZooKeeper, which runs tasks of ours now and then."""

    @property
    def address(self) -> str:
        """Return the address of ZooKeeper."""

    @property
    def session_id(self) -> int | None:
        """Return the name of the session; another one has none of its ephemeral nodes."""

    def add_task(self, task: Callable[[], float]) -> None:
        """Run a task from now on: soon, after `wake`, and after the seconds that it returns."""

    def wake(self) -> None:
        """Run every task soon; never blocks."""


class Nodes(Protocol):
    """The nodes of the worker numbers, as one holder sees and changes them."""

    def begin(self, floor: int) -> int:
        """Begin to look, and return the floor of numbers of which nothing is noted."""

    def taken(self) -> set[int]:
        """Return the numbers that somebody has, who lives or died a moment ago."""

    def noted(self) -> set[int]:
        """Return the numbers of which something is noted."""

    def is_ours(self, number: int) -> bool:
        """Return True if our session has a number."""

    def look(self, number: int) -> Number:
        """Return a noted number as it was left: after another's last time, or where we were."""

    def fresh(self, number: int, floor: int) -> Number:
        """Return a number of which nothing is noted."""

    def renew(self, held: Number, until: int) -> Number:
        """Reserve more time under a number that we have.

        Raises:
            TooLate: it is ours no more.
        """

    def take(self, free: Number, until: int, *, ours: bool) -> Number:
        """Take a number and reserve time under it.

        Raises:
            TooLate: another was quicker.
        """


class ZooKeeperLease:
    """A worker number, and the time that its ids may bear, reserved ahead by a task of the session.

    `worker` changes in `reserve` and nowhere else, so that a number and its time go together.

    Args:
        session: the session, which runs the task.
        nodes: the nodes of the worker numbers.
        now_ms: the wall clock, in milliseconds since 1970.
        reserve_ms: how far ahead of use time is reserved.
        decided: called when a number is ours, or when there is none: see `check`.
    """

    def __init__(
        self,
        session: Session,
        nodes: Nodes,
        now_ms: Callable[[], int],
        reserve_ms: int,
        decided: Callable[[], None],
    ) -> None:
        self._session = session
        self._nodes = nodes
        self._now_ms = now_ms
        self._reserve_ms = reserve_ms
        self._decided = decided
        self._held: Number | None = None
        self._held_in: int | None = None
        self._tried: int | None = None
        self.worker = 0
        session.add_task(self._keep)

    def check(self) -> None:
        """Make sure that a number is ours, after `decided`.

        Raises:
            RuntimeError: all 1,024 are taken.
        """
        if self._held is None:
            raise RuntimeError("all worker ids are leased: too many processes use this tree")

    def reserve(self, until_ms: int) -> int:
        """Return the time that is reserved already: this never waits.

        Raises:
            NothingReserved: ZooKeeper was away for too long, or we were.
        """
        held = self._held
        if held is None or not held.time.since < until_ms <= held.time.until:
            self._session.wake()
            raise NothingReserved(f"ZooKeeper at {self._session.address} reserved no time for ids")
        self.worker = held.number
        return held.time.until

    def _keep(self) -> float:
        """Reserve ahead, under our number or a new one, and return when to do so again."""
        enough = self._reserve_ms * 2 / 3
        ahead = self._held.time.until - self._now_ms() if self._held else 0
        session_id = self._session.session_id
        # A new session may have lost more than the session.
        if ahead < enough or session_id != self._held_in:
            if not self._renew() and not self._take():
                return _RETRY_S
            ahead, self._held_in = self._reserve_ms, session_id
        return (ahead - enough) / 1000

    def _renew(self) -> bool:
        """Move the time of our number on, and return True if it is still ours."""
        held = self._held
        if held is None:
            return False
        try:
            self._held = self._nodes.renew(held, self._ahead_of(held))
        except TooLate:
            return False
        return True

    def _take(self) -> bool:
        """Take a number, our last one before any other, and return True if we have one now."""
        for free, ours in self._free():
            self._tried = free.number
            try:
                self._held = self._nodes.take(free, self._ahead_of(free), ours=ours)
            except TooLate:
                continue
            log.info("ids are made under worker number %d", free.number)
            self._decided()
            return True
        if len(self._nodes.taken()) >= WORKERS:
            self._decided()
        return False

    def _free(self) -> Iterator[tuple[Number, bool]]:
        """Yield numbers that may have no id of a time to come, and whether our session has them."""
        now = self._now_ms()
        floor = self._nodes.begin(now + self._reserve_ms)
        in_use, noted = self._nodes.taken(), self._nodes.noted()
        last = [] if self._tried is None else [self._tried]
        for number in (*last, *(number for number in range(WORKERS) if number not in last)):
            ours = number in last and number in in_use and self._nodes.is_ours(number)
            if number in in_use and not ours:
                continue
            free = self._nodes.look(number) if number in noted else self._unnoted(number, floor)
            if free.time.since < now:
                yield free, ours

    def _unnoted(self, number: int, floor: int) -> Number:
        """Return a number of which nothing is noted; a lost note of ours is still in our memory."""
        held = self._held
        if held and held.number == number and held.time.until > self._now_ms():
            return replace(held, version=-1)
        return self._nodes.fresh(number, floor)

    def _ahead_of(self, number: Number) -> int:
        return max(self._now_ms() + self._reserve_ms, number.time.until)
