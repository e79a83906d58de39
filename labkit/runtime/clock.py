"""The three clocks of a lab: business time, wall time and the monotonic clock.

The *lab clock* gives business times; it can be stopped and advanced, and its offset lives in the
home, so that all processes agree. The *wall clock* gives ids and stored deadlines: a step of it
makes them early or late, never wrong. The *monotonic clock* (`time.monotonic`) is for leases,
deadlines of calls and backoff.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labkit.home import write_whole
from labkit.runtime.rules import Rules

_LAST = datetime(9000, 1, 1)


class _Wall:
    """The wall clock of this process, and by how many milliseconds a fault has stepped it."""

    step_ms: Callable[[], int] | None = None


def wall_ms() -> int:
    """Milliseconds of the wall clock since 1970."""
    now = time.time_ns() // 1_000_000
    return now + _Wall.step_ms() if _Wall.step_ms else now


def step_with(rules: Rules, process: str) -> None:
    """Have the wall clock of this process stepped where a rule about it says so.

    Args:
        rules: of the home.
        process: what this process is called, as `goods-1`.
    """

    def step_ms() -> int:
        stepped = rules.of("clock_stepped", process)
        return sum(int(rule.amount * 1000) for rule in stepped) if stepped else 0

    _Wall.step_ms = step_ms


def as_time(milliseconds: int) -> datetime:
    """Wall-clock milliseconds as a UTC time without zone, as the tables hold it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)


class LabClock:
    """Business time. Every process reads it from the home; only tools from outside move it.

    Args:
        path: the home's clock file. Without it the lab clock runs with the wall clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._offset = timedelta()
        self._stopped_at: datetime | None = None

    def now(self) -> datetime:
        """Business time now, in UTC without zone."""
        self._read_if_changed()
        return self._stopped_at or as_time(wall_ms()) + self._offset

    def stop(self, at: datetime | None = None) -> None:
        """Stop the clock, at a time or where it is; from then on it moves only by `advance`."""
        self._write(timedelta(), at or self.now())

    def advance(self, by: timedelta) -> None:
        """Move business time forward in all processes, running or stopped.

        Raises:
            ValueError: the time would go backwards, which business time never does, or past
                the year 9000, where services could not add a deadline to it any more.
        """
        if by < timedelta():
            raise ValueError(f"the lab clock goes forward only: {by} is below zero")
        now = self.now()
        if by > _LAST - now:
            raise ValueError(f"the lab clock goes to {_LAST:%Y-%m-%d} at most: {by} is too far")
        self._write(self._offset + by, now + by if self._stopped_at else None)

    def reset(self) -> None:
        """Let the clock run with the wall clock again."""
        self._path.unlink(missing_ok=True)

    def _write(self, offset: timedelta, stopped_at: datetime | None) -> None:
        stopped = stopped_at.isoformat() if stopped_at else None
        state = {"offset_seconds": offset.total_seconds(), "stopped_at": stopped}
        write_whole(self._path, json.dumps(state))

    def _read_if_changed(self) -> None:
        try:
            found = self._path.stat()
            if (found.st_ino, found.st_mtime_ns) == self._seen:
                return
            state = json.loads(self._path.read_text())
        except FileNotFoundError:  # also when it is reset between the two
            self._seen, self._offset, self._stopped_at = None, timedelta(), None
            return
        self._offset = timedelta(seconds=state["offset_seconds"])
        stopped = state["stopped_at"]
        self._stopped_at = datetime.fromisoformat(stopped) if stopped else None
        self._seen = (found.st_ino, found.st_mtime_ns)
