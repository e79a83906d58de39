"""The three clocks of a lab: business time, wall time and the monotonic clock.

The *lab clock* gives business times; it can be stopped and advanced, and its offset lives in the
home, so that all processes agree. The *wall clock* gives ids and stored deadlines: a step of it
makes them early or late, never wrong. The *monotonic clock* (`time.monotonic`) is for leases,
deadlines of calls and backoff.
"""

import json
import os
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labkit.home import write_whole
from labkit.runtime.rules import Rules

_LAST = datetime(9000, 1, 1)
_MOST_BYTES = 4096  # of a clock file


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
        self._seen = _RUNNING

    def now(self) -> datetime:
        """Business time now, in UTC without zone."""
        seen = self._look()
        return seen.stopped_at or as_time(wall_ms()) + seen.offset

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
        seen, now = self._look(), self.now()
        if by > _LAST - now:
            raise ValueError(f"the lab clock goes to {_LAST:%Y-%m-%d} at most: {by} is too far")
        self._write(seen.offset + by, now + by if seen.stopped_at else None)

    def reset(self) -> None:
        """Let the clock run with the wall clock again."""
        self._path.unlink(missing_ok=True)

    def _write(self, offset: timedelta, stopped_at: datetime | None) -> None:
        stopped = stopped_at.isoformat() if stopped_at else None
        state = {"offset_seconds": offset.total_seconds(), "stopped_at": stopped}
        write_whole(self._path, json.dumps(state))

    def _look(self) -> "_Setting":
        """Return the setting as it is in the home now; the file is read when it is another one."""
        try:
            if self._path.stat().st_ino != self._seen.inode:
                self._seen = _read(self._path)
        except FileNotFoundError:  # also when it is reset between the two
            self._seen = _RUNNING
        return self._seen


class _Setting:
    """What a clock file says. It keeps the file open.

    A clock file is never written to, only replaced, and as long as one is open no other gets its
    inode: so another setting is another inode. Its time would not do: within one tick of the file
    system a file can be replaced twice and be where, and as old as, the first one was.
    """

    def __init__(self, inode: int, offset: timedelta, stopped_at: datetime | None) -> None:
        self.inode = inode
        self.offset = offset
        self.stopped_at = stopped_at


_RUNNING = _Setting(-1, timedelta(), None)


def _read(path: Path) -> _Setting:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        inode = os.fstat(descriptor).st_ino
        state = json.loads(os.read(descriptor, _MOST_BYTES))
        offset, stopped = timedelta(seconds=state["offset_seconds"]), state["stopped_at"]
        found = _Setting(inode, offset, datetime.fromisoformat(stopped) if stopped else None)
    except BaseException:
        os.close(descriptor)
        raise
    weakref.finalize(found, _close, descriptor, os.getpid()).atexit = False
    return found


def _close(descriptor: int, opened_by: int) -> None:
    """Close what this process opened: a forked child may have another file by that number."""
    if opened_by == os.getpid():
        os.close(descriptor)
