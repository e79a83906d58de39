"""The actions that undo each fault, for whoever finds its note: see `undo_notes`."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from labkit.faults import points
from labkit.faults.undo_notes import undo_action
from labkit.home import Home
from labkit.runtime.injection.standing import FaultBook
from labkit.stack.setup import hide
from labkit.stack.supervisor import control, spawn


@undo_action
def resume(_home: Home, processes: Sequence[tuple[int, str | None]]) -> None:
    """Resume processes that are stopped, unless another has the pid by now."""
    for pid, born in processes:
        if spawn.birth(pid) == born:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@undo_action
def release(home: Home, names: Sequence[str]) -> None:
    """Release processes that are held down, so that they start again."""
    for name in names:
        control.tell(home, "release", name=name)


@undo_action
def remove_standing(home: Home, numbers: Sequence[str]) -> None:
    """Remove standing faults from the fault book."""
    book = FaultBook(home.faults)
    faults = [fault for fault in book.standing() if fault.number in numbers]
    if faults:
        book.remove(*faults)


@undo_action
def disarm(home: Home, failpoint: str) -> None:
    """Disarm a failpoint."""
    points.disarm(home, failpoint)


@undo_action
def bring_back(_home: Home, path: str) -> None:
    """Put a file or a folder back that is out of reach."""
    hide.bring_back(Path(path))


@undo_action
def lift_limit(_home: Home, processes: Sequence[tuple[int, str | None, int, int]]) -> None:
    """Let processes write to files again, unless another has the pid by now."""
    for pid, born, soft, hard in processes:
        with suppress(psutil.NoSuchProcess):
            if spawn.birth(pid) == born:
                psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


@undo_action
def free_disk(home: Home) -> None:
    """Remove the file that fills the disk; the process that keeps it full stops then."""
    home.filling_file.unlink(missing_ok=True)


@undo_action
def scale_back(home: Home, service: str, number: int) -> None:
    """Scale a service back to its number of instances."""
    control.tell(home, "scale", **{service: number})
