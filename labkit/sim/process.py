"""Simulated processes: what runs belongs to one, and ends with it at any moment."""

import math
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

T = TypeVar("T")

#: A clock that is set twice is not ahead by more than one that is set once: for as long as it is
#: ahead, everything that its process leaves behind waits, and a life ends sooner.
MOST_AHEAD_S = 45
_PROCESS: "ContextVar[Process | None]" = ContextVar("process", default=None)


class Crashed(BaseException):
    """The death of the process that raises it, at the moment at which it does."""


class Process:
    """One process: all that it starts runs in its context, and nothing of it after its death.

    Args:
        service: whose process it is.
        number: among those of the service, from 1.
        life: which process of that name it is, from 1.

    Attributes:
        name: as `goods-1`.
        endpoint: where it answers, which no other process ever does.
        is_alive: whether it has not died.
        ahead_ms: by how much its wall clock is ahead.
        events: turn → what happens to it there: `pause:SECONDS`, in which it stands still, or
            `clock:SECONDS`, by which its wall clock is stepped.
    """

    def __init__(self, service: str, number: int, life: int) -> None:
        self.service = service
        self.number = number
        self.life = life
        self.name = f"{service}-{number}"
        self.endpoint = f"{self.name}:{life}"
        self.is_alive = True
        self.ahead_ms = 0
        self.events: Mapping[int, str] = {}
        self._turns, self._paused_until = 0, 0.0
        self._at_death: list[Callable[[], None]] = []
        self._at_event: list[Callable[[int], None]] = []
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run something in this process; what it starts belongs to it."""
        return self._context.copy().run(work, *arguments)

    @property
    def context(self) -> Context:
        """Return a context of this process."""
        return self._context.copy()

    def at_death(self, work: Callable[[], None]) -> None:
        """Run something when it dies: what others notice of that."""
        self._at_death.append(work)

    def at_event(self, work: Callable[[int], None]) -> None:
        """Run something with the number of the turn at which something happens to it."""
        self._at_event.append(work)

    def turn(self, now: float) -> float:
        """Take a turn; return when something of it may run: later than now while it is paused."""
        if now < self._paused_until:
            return self._paused_until
        self._turns += 1
        if self._turns in self.events:
            self._meet(self.events[self._turns], now)
        return self._paused_until

    def die(self) -> None:
        """Die: nothing of it runs any more."""
        self.is_alive = False
        for work in self._at_death:
            work()

    def _meet(self, event: str, now: float) -> None:
        verb, _, seconds = event.partition(":")
        if verb == "clock":
            ahead_ms = self.ahead_ms + int(float(seconds) * 1000)
            self.ahead_ms = min(ahead_ms, MOST_AHEAD_S * 1000)
        else:
            self._paused_until = now + float(seconds)
        for work in self._at_event:
            work(self._turns)


def current() -> Process | None:
    """Return the process whose code runs now; None outside of all."""
    return _PROCESS.get()


def not_before(context: Context, now: float) -> float:
    """Return when what was asked for in a context is run: never where its process has died."""
    process = context.get(_PROCESS)
    if process is None:
        return now
    if not process.is_alive:
        return math.inf
    return process.turn(now) if process.events else now
