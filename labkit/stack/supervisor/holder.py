"""Who holds a home: the supervisor whose process has the home's lock, and writes its name there."""

import json
import os
from dataclasses import dataclass
from typing import Any

import psutil

from labkit.home import Home, try_lock
from labkit.stack.supervisor import spawn


@dataclass(frozen=True)
class Holder:
    """A supervisor that lives.

    Attributes:
        pid: of its process.
        birth: what tells it from a later process with the same pid.
    """

    pid: int
    birth: str

    @property
    def lives(self) -> bool:
        """Whether the process is still there."""
        return spawn.birth(self.pid) == self.birth

    @property
    def stands_still(self) -> bool:
        """Whether the process was stopped (SIGSTOP), so that it answers nobody."""
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def wrote(self, state: dict[str, Any]) -> bool:
        """Return True if a state is of this supervisor, and not of an earlier one."""
        return (state.get("supervisor"), state.get("supervisor_birth")) == (self.pid, self.birth)


def sign(lock: int, pid: int) -> None:
    """Write the name of a process into the lock file that it holds."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": pid, "birth": spawn.birth(pid)}).encode(), 0)


def holder_of(home: Home) -> Holder | None:
    """Return the supervisor that signed the lock; None before it has, and when it is gone."""
    try:
        holder = Holder(**json.loads(home.lock_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return holder if holder.lives else None


def is_up(home: Home) -> bool:
    """Whether a supervisor lives in a home, or is just being started there."""
    if not home.lock_file.exists():
        return False
    lock = try_lock(home.lock_file, only_look=True)
    if lock is None:
        return True
    os.close(lock)
    return False
