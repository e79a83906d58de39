"""The pauses of a loop that looks after rows which have their times."""

import asyncio

from labkit.runtime.clock import Clock

#: Between two looks: at least, whatever is due, and at most, for what other processes leave behind.
_LEAST_S, _IDLE_S = 0.3, 1.0


class Alarm:
    """The pauses of one loop: each ends when the next row is due, or when it is told of a new one.

    Args:
        clock: what pauses are measured by.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._has_news = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """End the pause: a row has a time that the last look did not see."""
        self._has_news = True
        if self._waiting:
            self._waiting.cancel()

    async def pause(self, next_ms: int | None) -> None:
        """Wait until the next row is due.

        Args:
            next_ms: when that is, in milliseconds of the wall clock; None if none waits.
        """
        await self._clock.sleep(_LEAST_S)
        wait_s = _IDLE_S - _LEAST_S
        if next_ms is not None:
            wait_s = min(wait_s, (next_ms - self._clock.wall_ms()) / 1000)
        if wait_s > 0 and not self._has_news:
            await self._wait(wait_s)
        self._has_news = False

    async def _wait(self, seconds: float) -> None:
        self._waiting = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({self._waiting})
        finally:
            self._waiting.cancel()
            self._waiting = None
