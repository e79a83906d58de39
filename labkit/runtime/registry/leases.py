"""Leases of worker numbers: which number a process takes, and which time its ids may bear.

The numbers and what is noted of them lie behind ports; `files` has them in a folder.
"""

from collections.abc import Callable
from typing import Protocol

from labkit.runtime.injection import outages
from labkit.runtime.registry.ids import WORKERS, NothingReserved


class ReservedTime(Protocol):
    """A durable note of the time up to which ids of a worker number may exist."""

    def read_ms(self) -> int:
        """Return the time; 0 if nobody has reserved any."""

    def write_ms(self, until_ms: int) -> None:
        """Replace the time, and return when that is durable.

        Raises:
            OSError: it could not be written; the old time stands.
        """


class WorkerNumbers(Protocol):
    """The worker numbers of a home."""

    def hold(self, worker: int) -> ReservedTime | None:
        """Take a number for as long as this process lives; None if another living one has it."""

    def release(self, worker: int) -> None:
        """Give a number back."""


class ReservingLease:
    """A worker number that this process holds, and the time reserved for its ids.

    Ids bear later times than the note says when the lease is taken: those up to it may have been
    made by the number's last holder.

    Args:
        time: the note of the reserved time.
        worker: the number.
        reserve_ms: how far ahead of use time is reserved.
    """

    def __init__(self, time: ReservedTime, worker: int, reserve_ms: int) -> None:
        self._time = time
        self._reserve_ms = reserve_ms
        self._floor_ms = self._reserved_ms = time.read_ms()
        self.worker = worker

    def reserve(self, until_ms: int) -> int:
        """Reserve durably, a few seconds ahead, so that this is rare; never less than before.

        Raises:
            NothingReserved: the time could not be written, or it is not later than the ids of the
                number's last holder.
        """
        if until_ms <= self._floor_ms:
            behind = self._floor_ms - until_ms
            text = f"the wall clock is {behind} ms behind what another process reserved as worker"
            raise NothingReserved(f"{text} {self.worker}: no ids until it has caught up")
        reserved = max(until_ms + self._reserve_ms, self._reserved_ms)
        try:
            self._time.write_ms(reserved)
        except OSError as error:
            outages.count(outages.REGISTRY)
            raise NothingReserved(f"no time for ids could be reserved: {error.strerror}") from error
        self._reserved_ms = reserved
        return reserved


def lease_worker(
    numbers: WorkerNumbers, now_ms: Callable[[], int], reserve_ms: int
) -> ReservingLease:
    """Take a worker number that no living process has and whose reserved time is over.

    Raises:
        RuntimeError: all 1,024 numbers are taken.
    """
    for worker in range(WORKERS):
        time = numbers.hold(worker)
        if time is None:
            continue
        if time.read_ms() < now_ms():
            return ReservingLease(time, worker, reserve_ms)
        numbers.release(worker)
    raise RuntimeError("all worker ids are leased: too many processes use this home")
