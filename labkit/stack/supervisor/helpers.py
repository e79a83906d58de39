"""Helpers: children of the supervisor for one piece of work each, so that it stays fit to fork.

What opens connections or starts threads is done by a helper. It is written down before it begins,
dies with the supervisor, and keeps the lock on the databases for as long as it lives: who starts
the lab again takes that lock before looking at them.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from labkit.home import Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.stack.boundaries import HELPER, Cross, cross_fork, failpoints_in
from labkit.stack.supervisor import spawn

#: What a helper does; it is handed what crosses its boundaries.
Work = Callable[[Cross], object]


class Helper:
    """A helper that was started, and waits to be written down.

    Args:
        home: where the lab lives.
        name: of the work, as its failpoints have it.
        work: what it does.
        lifeline: it dies when the other end of this pipe is closed.
        lock: descriptor of the lock on the databases.
        failpoints: of the supervisor.

    Raises:
        OSError: the system has no process, memory or descriptor left for it.
    """

    def __init__(
        self, home: Home, name: str, work: Work, lifeline: int, lock: int, failpoints: Failpoints
    ) -> None:
        self.name = name
        self._log = home.logs / "supervisor.log"
        self._from = self._log.stat().st_size if self._log.exists() else 0
        self._failpoints = failpoints
        self._status: int | None = None
        cross_fork(failpoints, "supervisor.start_helper.before_fork")
        self._waiting: spawn.Started | None = spawn.fork(
            partial(_work, home, name, work), self._log, lifeline, (lock,)
        )
        self.pid = self._waiting.pid
        failpoints.cross("supervisor.start_helper.after_fork")

    def go_on(self) -> None:
        """Let it begin: the state names it."""
        if self._waiting:
            self._waiting.go_on()
            self._waiting = None
            self._failpoints.cross("supervisor.start_helper.after_record")

    def ended(self) -> bool:
        """Return True if it has ended, well or not."""
        if self._status is None:
            self._status = spawn.exit_status(self.pid)
        return self._status is not None

    def end(self) -> None:
        """End it, whatever it is doing."""
        if not self.ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)

    def failure(self) -> str:
        """Why it failed, in one line; empty where its work is done."""
        if not self._status:
            return ""
        if os.WIFSIGNALED(self._status):
            number = signal.Signals(os.WTERMSIG(self._status))
            why = "the system does so when memory runs out" if number == signal.SIGKILL else "why?"
            return f"the process that did it was killed by signal {number} ({number.name}; {why})"
        lines = self._own_lines()
        return lines[-1] if lines else f"exit code {os.waitstatus_to_exitcode(self._status)}"

    def _own_lines(self) -> list[str]:
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace").strip().splitlines()
        return []


def _work(home: Home, name: str, work: Work) -> None:
    """Do the work, inside the helper."""
    failpoints = failpoints_in(home, HELPER)
    failpoints.cross(f"{HELPER}.{name}.before_work")
    work(failpoints.cross)
    failpoints.cross(f"{HELPER}.{name}.after_work")
