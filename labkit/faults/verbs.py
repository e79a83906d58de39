"""Faults as a learner says them. A context manager mends what it broke when its block ends."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from labkit.faults import broker_loss, points
from labkit.home import Home
from labkit.stack import control, launch

_BACK_SECONDS = 15.0


class NotReached(Exception):
    """A fault was armed and nothing came its way, so that what followed proves nothing."""


class Faults:
    """The faults of one lab.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def list(self) -> list[dict[str, Any]]:
        """Every failpoint: name, service, boundary, actions, hits."""
        return points.list_all(self._home)

    def hits(self, name: str) -> int:
        """How often a failpoint was crossed since the last reset, armed or not."""
        return next(int(one["hits"]) for one in self.list() if one["name"] == name)

    def arm(self, name: str, action: str, times: int = 1) -> None:
        """Arm a failpoint and leave it armed; see `armed` for one that mends itself."""
        points.arm(self._home, name, action, times)

    def disarm(self, name: str | None = None) -> None:
        """Disarm one failpoint, or all."""
        points.disarm(self._home, name)

    @contextmanager
    def armed(self, name: str, action: str, times: int = 1) -> Iterator[None]:
        """Arm a failpoint for a block, and disarm it after.

        Args:
            name: as `list` gives it.
            action: `crash`, `refuse`, `delay:SECONDS` or `duplicate`.
            times: how many crossings it acts on.

        Raises:
            NotReached: the block ended and the failpoint had not acted even once.
        """
        points.arm(self._home, name, action, times)
        try:
            yield
            if points.left(self._home, name) == times:
                raise NotReached(f"the failpoint {name} was armed and never reached")
        finally:
            points.disarm(self._home, name)

    def kill(self, process: str) -> None:
        """Kill a process with −9, and wait until it is started again and serves."""
        before = self._process(process)["pid"]
        os.kill(before, signal.SIGKILL)
        self._until(lambda: self._serves(process, not_pid=before), f"{process} did not come back")

    @contextmanager
    def killed(self, process: str) -> Iterator[None]:
        """Kill a process with −9 and keep it down for a block."""
        self._process(process)
        control.tell(self._home, "hold", name=process)
        try:
            self._until(lambda: not self._process(process)["pid"], f"{process} did not die")
            yield
        finally:
            control.tell(self._home, "release", name=process)
            self._until(lambda: self._serves(process), f"{process} did not come back")

    @contextmanager
    def paused(self, process: str) -> Iterator[None]:
        """Stop a process in its tracks for a block: it keeps its locks and its connections.

        Where the lock of a database is among them, and another instance needs it, the supervisor
        ends the process after a second or two.
        """
        pid = self._process(process)["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def lose_broker(self, seed: int | None = None) -> int:
        """Make the broker forget what it had acknowledged: everything, or a random tail of it.

        The services stand still meanwhile, so that what is lost can be counted.

        Args:
            seed: of the tail that each partition loses; without one, everything is lost.

        Returns:
            How many records were lost: none means that the fault was not reached.
        """
        log = broker_loss.BrokerLog(self._home)
        with self._services_stopped():
            held = log.read()
            if log.is_kept:
                log.cut(held)
            else:
                self.kill("broker")
            kept = [] if seed is None else broker_loss.heads(held, seed)
            log.write(kept)
        return len(held) - len(kept)

    @contextmanager
    def _services_stopped(self) -> Iterator[None]:
        """Stop all services for a block, and wake those that ran before."""
        services = [one for one in launch.status(self._home)["services"] if one["name"] != "broker"]
        stopped = [one["pid"] for one in services if one["pid"] and _stop(one["pid"])]
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _process(self, name: str) -> dict[str, Any]:
        for one in launch.status(self._home)["services"]:
            if name in (one["name"], f"{one['name']}-{one['instance']}"):
                found: dict[str, Any] = one
                return found
        raise ValueError(f"{name}: there is no such process; see: labkit status")

    def _serves(self, name: str, not_pid: int | None = None) -> bool:
        one = self._process(name)
        return bool(one["state"] == "up" and one["pid"] != not_pid)

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + _BACK_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{complaint} within {_BACK_SECONDS:.0f} s")
            time.sleep(0.02)


def _stop(pid: int) -> bool:
    """Stop a process in its tracks; False where it stands already, or is gone."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            return False
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    return True
