"""64-bit ids after Twitter's Snowflake: 41 bits of time, 10 of worker, 12 of sequence.

Two things make Snowflake ids collide in the wild: two processes with one worker id, and a clock
that steps back. Here the worker id is leased (`WorkerLease`), the time that ids may bear is
reserved durably ahead of use, and a clock that stepped back makes the maker wait or refuse.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

EPOCH_MS = 1_704_067_200_000  # 2024-01-01, UTC
WORKER_BITS, SEQUENCE_BITS = 10, 12  # the worker's bits are 5 of datacenter and 5 of worker
WORKERS = 1 << WORKER_BITS
_SHIFT = WORKER_BITS + SEQUENCE_BITS
#: How far the wall clock may be behind the last id, so that the next id waits for it.
_PATIENCE_MS = 100


class NoIds(Exception):
    """No id can be made now. Nothing is wrong with what needs one: it may be asked again."""


class ClockSteppedBack(NoIds):
    """The wall clock went back further than an id may wait for."""


class NothingReserved(NoIds):
    """The time that our ids may bear is used up, and no more could be reserved."""


class WorkerLease(Protocol):
    """The right to make ids under one worker number."""

    @property
    def worker(self) -> int:
        """Return the number, 0 to 1023; `reserve` may change it."""

    def reserve(self, until_ms: int) -> int:
        """Note durably that ids up to a time may exist, and return the time reserved.

        Raises:
            NothingReserved: that cannot be done now.
        """


class IdMaker:
    """Makes ids that never repeat and grow with time.

    Args:
        lease: the lease of the worker number.
        now_ms: the wall clock, in milliseconds since 1970.
        sleep: waits so many seconds, until a clock that stepped back a little has caught up.
    """

    def __init__(
        self,
        lease: WorkerLease,
        now_ms: Callable[[], int],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lease = lease
        self._now_ms = now_ms
        self._sleep = sleep
        self._last_ms = self._reserved_ms = self._sequence = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """Make a new id.

        Raises:
            ClockSteppedBack: the clock is more than 100 ms behind the last id.
            NothingReserved: the lease could not be renewed in time.
        """
        with self._lock:
            now, sequence = self._wait_for(self._last_ms), 0
            if now == self._last_ms:
                sequence = self._sequence + 1
            if sequence >> SEQUENCE_BITS:
                now, sequence = self._wait_for(self._last_ms + 1), 0
            if now > self._reserved_ms:
                self._reserved_ms = self._lease.reserve(now)
            self._last_ms, self._sequence = now, sequence
            return first_of(now) | self._lease.worker << SEQUENCE_BITS | sequence

    def _wait_for(self, earliest_ms: int) -> int:
        while (now := self._now_ms()) < earliest_ms:
            if earliest_ms - now > _PATIENCE_MS:
                raise ClockSteppedBack(
                    f"the wall clock is {earliest_ms - now} ms behind the last id"
                )
            self._sleep(0.001)
        return now


def made_at_ms(number: int) -> int:
    """Return the wall-clock millisecond in which an id was made."""
    return (number >> _SHIFT) + EPOCH_MS


def first_of(ms: int) -> int:
    """Return the lowest id that a millisecond can have: ids below it are older."""
    return (ms - EPOCH_MS) << _SHIFT
