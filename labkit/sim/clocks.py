"""Simulated clocks: virtual time, and wall clocks that may be wrong."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from labkit.runtime.clock import as_time
from labkit.sim.loop import SimLoop, wake
from labkit.sim.process import Process

A = TypeVar("A")

#: 2026-01-05 09:00, UTC: when each life begins.
START_MS = 1_767_603_600_000
_BOOTED_S = 1000.0  # what the monotonic clock shows then


class SimClock:
    """The clocks of one process.

    Args:
        loop: the loop.
        process: whose wall clock it is.
    """

    def __init__(self, loop: SimLoop, process: Process) -> None:
        self._loop = loop
        self._process = process

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock."""
        return _BOOTED_S + self._loop.time()

    def wall_ms(self) -> int:
        """Return the milliseconds of the wall clock."""
        return START_MS + self._process.ahead_ms + int(self._loop.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        woken = self._loop.create_future()
        self._loop.call_later(seconds, wake, woken)
        await woken

    def block(self, seconds: float) -> None:
        """Let time pass while nothing else runs."""
        self._loop.advance(seconds)

    def call_later(self, seconds: float, work: Callable[[A], None], argument: A) -> None:
        """Call `work(argument)` after so many seconds."""
        self._loop.call_later(seconds, work, argument)


class SimLabClock:
    """Business time, the same in all processes.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the business time."""
        return as_time(START_MS + int(self._loop.time() * 1000)) + self._ahead

    def advance(self, by: timedelta) -> None:
        """Move business time forward."""
        self._ahead += by
