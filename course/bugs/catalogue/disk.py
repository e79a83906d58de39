"""Bugs that a full disk brings to light."""

import mmap
import sys
from pathlib import Path

from course.bugs.bug import bug
from labkit.runtime.injection.counters import Counters
from labkit.stack.supervisor.supervisor import Supervisor
from labkit.state import Phase

counters_are_a_hole = bug(
    "counters-are-a-hole",
    "A file is made as long as it must be, and the system sees to the zeros in it.",
    "disk-full",
    breaks="died of the full disk",
)


@counters_are_a_hole.replaces("labkit.runtime.injection.counters:Counters.__init__")
def _(self: Counters, path: Path, size: int) -> None:
    with path.open("a+b") as file:
        if file.tell() < size * 8:
            file.truncate(size * 8)
        self.numbers = memoryview(mmap.mmap(file.fileno(), size * 8)).cast("Q")


state_must_be_written = bug(
    "state-must-be-written",
    "A supervisor that cannot say what runs is of no use to anybody.",
    "disk-full",
    breaks="died of the full disk",
)


_write_state = Supervisor.write_state


@state_must_be_written.replaces("labkit.stack.supervisor.supervisor:Supervisor.write_state")
def _(self: Supervisor, phase: Phase | None = None) -> None:
    _write_state(self, phase)
    if self._state.is_stale:
        sys.exit("the state cannot be written")
