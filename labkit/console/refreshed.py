"""A value that is read in a thread while somebody wants it: one read at a time, not too often."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Refreshed(Generic[T]):
    """The last value of a slow read, which is read again when it is too old.

    Args:
        threads: run the read.
        read: returns the value.
        first: the value before the first read.
        max_age_s: the least time until the next read.
        idle: the least time until the next read, in times of the last one's duration.

    Attributes:
        last: the last value.
    """

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        read: Callable[[], T],
        first: T,
        max_age_s: float,
        idle: int,
    ) -> None:
        self._threads, self._read, self._max_age_s = threads, read, max_age_s
        self._idle = idle
        self._reading: asyncio.Future[None] | None = None
        self._good_until = 0.0
        self.last = first

    async def latest(self, timeout: float) -> T:
        """Return the last value; where it is too old, read it again and wait for that a while."""
        if self._reading is None and time.monotonic() >= self._good_until:
            self._reading = asyncio.ensure_future(self._read_again())
        if self._reading and timeout:
            await asyncio.wait([self._reading], timeout=timeout)
        return self.last

    def invalidate(self) -> None:
        """Make the last value too old."""
        self._good_until = 0.0

    async def _read_again(self) -> None:
        began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            self.last = await loop.run_in_executor(self._threads, self._read)
        finally:
            now = time.monotonic()
            self._good_until = now + max(self._max_age_s, self._idle * (now - began))
            self._reading = None
