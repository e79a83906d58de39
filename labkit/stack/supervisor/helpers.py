"""Helpers: children of the supervisor for one piece of work each, so that it stays fit to fork.

A helper does what opens connections or starts threads. It is written down before it begins, dies
with the supervisor, and keeps the lock on the databases for as long as it lives: whoever starts the
lab again takes that lock before looking at them.
"""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from labkit.home import Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.stack.boundaries import HELPER, Cross, cross_fork, failpoints_in
from labkit.stack.supervisor import spawn
from labkit.waiting import poll_until

log = logging.getLogger(__name__)

#: The work of a helper; it is passed a function that crosses its boundaries.
Work: TypeAlias = Callable[[Cross], object]
#: A process that is killed is gone at once, unless the kernel holds it (state D).
_KILL_S = 5.0


class Helper:
    """A helper that was started, and waits until the state names it.

    Args:
        home: where the lab lives.
        name: of the work, as its failpoints have it.
        work: the work.
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
        self._log_size = self._log.stat().st_size if self._log.exists() else 0
        self._failpoints = failpoints
        self._status: int | None = None
        cross_fork(failpoints, "supervisor.start_helper.before_fork")
        self._waiting: spawn.WaitingChild | None = spawn.fork(
            partial(_work, home, name, work), self._log, lifeline, (lock,)
        )
        self.pid = self._waiting.pid
        failpoints.cross("supervisor.start_helper.after_fork")

    def go_on(self) -> None:
        """Let the helper begin: the state names it."""
        if self._waiting:
            self._waiting.go_on()
            self._waiting = None
            self._failpoints.cross("supervisor.start_helper.after_record")

    def ended(self) -> bool:
        """Return True if the helper has ended, well or not."""
        if self._status is None:
            self._status = spawn.exit_status(self.pid)
        return self._status is not None

    def end(self) -> None:
        """End the helper, whatever it is doing."""
        if self.ended():
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if not poll_until(self.ended, _KILL_S):
            log.warning("the kernel holds the helper %s (pid %d)", self.name, self.pid)

    def failure(self) -> str:
        """Return why the helper failed, in one line; empty where its work is done."""
        if not self._status:
            return ""
        if os.WIFSIGNALED(self._status):
            number = signal.Signals(os.WTERMSIG(self._status))
            why = "the system does so when memory runs out" if number == signal.SIGKILL else "why?"
            return f"the process that did it was killed by signal {number} ({number.name}; {why})"
        lines = self._own_lines()
        return lines[-1] if lines else f"exit code {os.waitstatus_to_exitcode(self._status)}"

    def _own_lines(self) -> list[str]:
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(self._log_size)
            return file.read().decode(errors="replace").strip().splitlines()
        return []


class Helpers:
    """The helpers of one supervisor that are at work.

    Args:
        home: where the lab lives.
        lifeline: they die when the other end of this pipe is closed.
        lock: descriptor of the lock on the databases.
        failpoints: of the supervisor.

    Attributes:
        lock: the same.
    """

    def __init__(self, home: Home, lifeline: int, lock: int, failpoints: Failpoints) -> None:
        self._home = home
        self._lifeline = lifeline
        self.lock = lock
        self._failpoints = failpoints
        self._helpers: list[Helper] = []

    def __bool__(self) -> bool:
        return bool(self._helpers)

    @property
    def pids(self) -> list[int]:
        """Return the pids of all helpers."""
        return [helper.pid for helper in self._helpers]

    def start(self, name: str, work: Work) -> Helper:
        """Start a helper, which begins after `go_on`.

        Raises:
            OSError: the system has no process, memory or descriptor left for it.
        """
        helper = Helper(self._home, name, work, self._lifeline, self.lock, self._failpoints)
        self._helpers.append(helper)
        return helper

    def go_on(self) -> None:
        """Let all helpers begin: the state names them."""
        for helper in self._helpers:
            helper.go_on()

    def end(self, helper: Helper) -> None:
        """End a helper, and forget it."""
        helper.end()
        self._helpers.remove(helper)

    def end_all(self) -> None:
        """End all helpers, and forget them."""
        for helper in self._helpers:
            helper.end()
        self._helpers.clear()


def _work(home: Home, name: str, work: Work) -> None:
    """Do the work, inside the helper."""
    failpoints = failpoints_in(home, HELPER)
    failpoints.cross(f"{HELPER}.{name}.before_work")
    work(failpoints.cross)
    failpoints.cross(f"{HELPER}.{name}.after_work")
