"""How each fault that stands is undone, by whoever finds it: see `standing`."""

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
    """Have processes go on that stand still; one that died meanwhile is nobody else."""
    for pid, born in processes:
        if spawn.birth(pid) == born:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@undo_action
def release(home: Home, names: Sequence[str]) -> None:
    """Have processes start again that are held down."""
    for name in names:
        control.tell(home, "release", name=name)


@undo_action
def remove_rules(home: Home, rules: Sequence[str]) -> None:
    """Have rules stand no more."""
    book = FaultBook(home.faults)
    found = [rule for rule in book.standing() if rule.number in rules]
    if found:
        book.remove(*found)


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
    """Let processes write to files again; one that was started since has no limit."""
    for pid, born, soft, hard in processes:
        with suppress(psutil.NoSuchProcess):
            if spawn.birth(pid) == born:
                psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


@undo_action
def free_disk(home: Home) -> None:
    """Give back the room that fills the disk; whoever keeps it full stops then."""
    home.filling_file.unlink(missing_ok=True)


@undo_action
def scale_back(home: Home, service: str, number: int) -> None:
    """Have as many instances of a service as there were."""
    control.tell(home, "scale", **{service: number})
