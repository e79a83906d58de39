"""The three clocks of a lab: business time, wall time and the monotonic clock.

The *lab clock* gives business times; it can be stopped and advanced, and its offset lives in the
home, so that all processes agree. The *wall clock* gives ids and stored deadlines: a step of it
makes them early or late, never wrong. The *monotonic clock* (`time.monotonic`) is for leases,
deadlines of calls and backoff.

The machine's wall clock is set now and then: when a laptop wakes, when its system starts with the
time of another zone. Deadlines that were stored would then come at once, or hours late, and ids
would wait. So the wall clock of a home is read from the machine once, when its supervisor starts,
and from there on runs with the monotonic clock, the same in all processes.
"""

import asyncio
import json
import os
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from labkit.boot import boot_id
from labkit.files import locked, making_sense_of, write_whole
from labkit.home import WALL_FILE, Home
from labkit.runtime.injection.standing import FaultKind, StandingFaults

#: The lab clock goes no further, so that services can add a deadline to it.
_LAST = datetime(9000, 1, 1)
_MAX_FILE_BYTES = 4096


@dataclass(frozen=True)
class Anchor:
    """Ties the wall clock of a home to the monotonic clock of one boot of the machine.

    Attributes:
        boot: the boot within which this holds.
        ahead_ms: by how much the wall clock is ahead of the monotonic clock.
    """

    boot: str
    ahead_ms: int

    def now_ms(self) -> int:
        """Return the wall clock of the home."""
        return _monotonic_ms() + self.ahead_ms


class _Wall:
    """The wall clock of this process, and the step that a standing fault adds to it."""

    anchor: Anchor | None = None
    step_ms: Callable[[], int] | None = None


def wall_ms() -> int:
    """Return the wall clock of this process: milliseconds since 1970."""
    anchor = _Wall.anchor
    now = anchor.now_ms() if anchor else time.time_ns() // 1_000_000
    return now + _Wall.step_ms() if _Wall.step_ms else now


def wall_ms_of(home: Home) -> int:
    """Return the wall clock of a home, for tools, which belong to no home."""
    return _wall_ms_by(home.wall_file)


def anchor(home: Home) -> None:
    """Tie the wall clock of a home to the monotonic clock; this process follows it.

    Within one boot of the machine it never goes back, also from one supervisor to the next.
    """
    before, now = _read_anchor(home.wall_file), time.time_ns() // 1_000_000
    if before:
        now = max(now, before.now_ms())
    anchored = Anchor(boot_id(), now - _monotonic_ms())
    write_whole(home.wall_file, json.dumps(asdict(anchored)))
    _Wall.anchor = anchored


def follow(home: Home) -> None:
    """Let this process follow the wall clock of a home, if a supervisor has anchored it."""
    _Wall.anchor = _read_anchor(home.wall_file)


def _wall_ms_by(file: Path) -> int:
    anchor = None if _Wall.anchor else _read_anchor(file)
    return anchor.now_ms() if anchor else wall_ms()


def _read_anchor(file: Path) -> Anchor | None:
    """Return the anchor of a home; None if there is none, or none of this boot."""
    try:
        with making_sense_of(file):
            anchor = Anchor(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    return anchor if anchor.boot == boot_id() else None


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def step_with(faults: StandingFaults, process: str) -> None:
    """Step the wall clock of this process as long as a standing fault says so.

    Args:
        faults: the standing faults of the home.
        process: name of this process, as `goods-1`.
    """

    def step_ms() -> int:
        steps = faults.of(FaultKind.CLOCK_STEPPED, process)
        return sum(int(step.amount * 1000) for step in steps) if steps else 0

    _Wall.step_ms = step_ms


def as_time(milliseconds: int) -> datetime:
    """Return wall-clock milliseconds as a UTC time without zone, as the tables hold it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)


class LabClock:
    """The business clock. Every process reads it from the home; only tools from outside move it.

    Args:
        path: the home's clock file; without it the lab clock runs with the wall clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._setting = _RUNNING

    def now(self) -> datetime:
        """Return the business time, in UTC without zone."""
        setting = self._current()
        wall = as_time(_wall_ms_by(self._path.with_name(WALL_FILE)))
        return setting.stopped_at or wall + setting.offset

    def stop(self, at: datetime | None = None) -> None:
        """Stop the clock, at a time or at once; from then on it moves only by `advance`."""
        with self._moving():
            self._write(timedelta(), at or self.now())

    def advance(self, by: timedelta) -> None:
        """Move business time forward in all processes, running or stopped.

        Raises:
            ValueError: the time would go backwards, which business time never does, or past
                the year 9000, where services could not add a deadline to it any more.
        """
        if by < timedelta():
            raise ValueError(f"the lab clock goes forward only: {by} is below zero")
        with self._moving():
            setting, now = self._current(), self.now()
            if by > _LAST - now:
                raise ValueError(f"the lab clock goes to {_LAST:%Y-%m-%d} at most: {by} is too far")
            self._write(setting.offset + by, now + by if setting.stopped_at else None)

    def reset(self) -> None:
        """Let the clock run with the wall clock again."""
        self._path.unlink(missing_ok=True)

    def _moving(self) -> AbstractContextManager[None]:
        """Lock the clock, so that one tool at a time reads and sets it: no move is lost."""
        return locked(self._path.with_suffix(".lock"))

    def _write(self, offset: timedelta, stopped_at: datetime | None) -> None:
        stopped = stopped_at.isoformat() if stopped_at else None
        state = {"offset_seconds": offset.total_seconds(), "stopped_at": stopped}
        write_whole(self._path, json.dumps(state))

    def _current(self) -> "_Setting":
        """Return the setting in the home now; the file is read only if it is another one."""
        try:
            if self._path.stat().st_ino != self._setting.inode:
                self._setting = _read(self._path)
        except FileNotFoundError:  # also when it is reset between the two
            self._setting = _RUNNING
        return self._setting


class _Setting:
    """The setting in a clock file. It keeps the file open.

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
        with making_sense_of(path):
            state = json.loads(os.read(descriptor, _MAX_FILE_BYTES))
            offset, stopped = timedelta(seconds=state["offset_seconds"]), state["stopped_at"]
            setting = _Setting(inode, offset, datetime.fromisoformat(stopped) if stopped else None)
    except BaseException:
        os.close(descriptor)
        raise
    weakref.finalize(setting, _close, descriptor, os.getpid()).atexit = False
    return setting


def _close(descriptor: int, opened_by: int) -> None:
    """Close what this process opened: a forked child may have another file by that number."""
    if opened_by == os.getpid():
        os.close(descriptor)


class BusinessClock(Protocol):
    """The clock of business time."""

    def now(self) -> datetime:
        """Return the business time, in UTC without zone."""
        ...


class Clock(Protocol):
    """The clocks that logic may wait by; a simulation has its own."""

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock."""
        ...

    def wall_ms(self) -> int:
        """Return the milliseconds of the wall clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class MachineClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Return the milliseconds of the wall clock."""
        return wall_ms()

    async def sleep(self, seconds: float) -> None:
        """Wait in the event loop."""
        await asyncio.sleep(seconds)
