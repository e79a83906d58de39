"""The holder of a home: the supervisor whose process has the home's lock, and signs it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from labkit.files import try_lock
from labkit.home import Home
from labkit.stack.supervisor import spawn


@dataclass(frozen=True)
class Holder:
    """A supervisor, as it signed the lock of its home.

    Attributes:
        pid: of its process.
        birth: identifies the process among all that have or had this pid.
    """

    pid: int
    birth: str

    @property
    def is_alive(self) -> bool:
        """Return True if the process is still there."""
        return spawn.birth(self.pid) == self.birth

    @property
    def is_stopped(self) -> bool:
        """Return True if the process was stopped (SIGSTOP), so that it answers nobody."""
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def wrote(self, state: Mapping[str, object]) -> bool:
        """Return True if a state is of this supervisor, and not of an earlier one."""
        return (state.get("supervisor"), state.get("supervisor_birth")) == (self.pid, self.birth)


def sign(lock: int, pid: int) -> None:
    """Write the pid and the birth of a process into the lock file that it holds."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": pid, "birth": spawn.birth(pid)}).encode(), 0)


def holder_of(home: Home) -> Holder | None:
    """Return the supervisor that signed the lock; None before it has, and when it is gone."""
    try:
        holder = Holder(**json.loads(home.lock_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return holder if holder.is_alive else None


def is_up(home: Home) -> bool:
    """Return True if a supervisor lives in a home, or is just being started there."""
    if not home.lock_file.exists():
        return False
    lock = try_lock(home.lock_file, only_look=True)
    if lock is None:
        return True
    os.close(lock)
    return False
