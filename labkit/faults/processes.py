"""Processes that die, stand still, or come back when nobody waits for them any more."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from labkit.faults.on_lab import OnLab
from labkit.faults.verb import Reach, verb
from labkit.stack import control


class Processes(OnLab):
    """What can befall a process."""

    def kill(self, process: str) -> None:
        """Kill a process with −9, and wait until it is started again and serves."""
        before = self._process(process)["pid"]
        os.kill(before, signal.SIGKILL)
        self._until(lambda: self._serves(process, not_pid=before), f"{process} did not come back")

    @verb
    def killed(self, process: str) -> Iterator[Reach]:
        """A process is killed with −9 and stays down.

        Args:
            process: as `labkit status` names it; `goods` is `goods-1`.
        """
        self._process(process)
        control.tell(self._home, "hold", name=process)
        try:
            self._until(lambda: not self._process(process)["pid"], f"{process} did not die")
            yield Reach(lambda: 1, f"{process} did not die")
        finally:
            control.tell(self._home, "release", name=process)
            self._until(lambda: self._serves(process), f"{process} did not come back")

    @verb
    def paused(self, process: str) -> Iterator[Reach]:
        """A process stands still (SIGSTOP): it keeps its locks and its connections.

        Where the lock of a database is among them, and another instance needs it, the supervisor
        ends the process after a second or two.

        Args:
            process: as `labkit status` names it; `goods` is `goods-1`.
        """
        pid = self._process(process)["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            self._until(lambda: stands_still(pid), f"{process} did not stand still")
            yield Reach(lambda: 1, f"{process} did not stand still")
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def stands_still(pid: int) -> bool:
    """Whether a process is stopped now, or was ended meanwhile."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
