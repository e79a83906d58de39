"""Processes that die, stop, or come back when others have taken their place."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from labkit.faults import points, undo_actions
from labkit.faults.lab_verbs import LabVerbs
from labkit.faults.standing_verbs import WITH_INSTANCES, one_of
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import NotReached, Reach, verb
from labkit.runtime.registry.zookeeper_session import SESSION_S
from labkit.runtime.rpc.tool_client import is_well, run_beside
from labkit.stack.supervisor import control, fencing, spawn
from labkit.waiting import wait_until

_LONGEST_S = 3600.0


class ProcessVerbs(LabVerbs):
    """The faults of processes."""

    def kill(self, process: str) -> None:
        """Kill a process with −9, and wait until it is started again and serves."""
        before = self._pid(process)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self._serves(process, not_pid=before), f"{process} is back")

    @verb
    def killed(self, process: str) -> Iterator[Reach]:
        """Kill a process with −9, and keep it down.

        Args:
            process: its name in `labkit status`; `goods` is `goods-1`.
        """
        self._process(process)
        with undo_note(self._home, undo_actions.release, names=[process]):
            control.tell(self._home, "hold", name=process)
            wait_until(lambda: not self._process(process)["pid"], f"{process} is dead")
            try:
                yield Reach(lambda: 1, f"{process} did not die")
            finally:
                undo_actions.release(self._home, [process])
                wait_until(lambda: self._serves(process), f"{process} is back")

    @verb
    def paused(self, process: str) -> Iterator[Reach]:
        """Stop a process (SIGSTOP): it keeps its locks and its connections.

        Where the lock of a database is among them, and another instance needs it, the supervisor
        kills the process after a second or two.

        Args:
            process: its name in `labkit status`; `goods` is `goods-1`.
        """
        pid = self._pid(process)
        with undo_note(self._home, undo_actions.resume, processes=[(pid, spawn.birth(pid))]):
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: stands_still(pid), f"{process} is stopped")
            yield Reach(lambda: 1, f"{process} did not stop")

    @verb
    def zombie(self, service: str) -> Iterator[Reach]:
        """Hang an instance past all its leases, while another takes its place, then wake it.

        The other instance is there for the block alone, where there is none yet. The block begins
        when the leases are over: of outbox rows, of its place in the consumer group, of ids.

        Args:
            service: one with a database; its first instance hangs.

        Raises:
            NotReached: it is back as the process that it was.
        """
        one_of(service, WITH_INSTANCES, "service with a database")
        first = f"{service}-1"
        with self._helped(service):
            pid = self._pid(first)
            with undo_note(self._home, undo_actions.resume, processes=[(pid, spawn.birth(pid))]):
                self._stop_between_writes(service, first)
                crossings = self._others_crossings(service)
                yield Reach(crossings, f"no other {service} did anything meanwhile")
            wait_until(lambda: self._serves(first), f"{first} is back")
            if self._process(first)["pid"] != pid:
                raise NotReached(f"zombie: {first} was ended while it hung")
            wait_until(lambda: self._is_well(service, first), f"{first} answers")

    @contextmanager
    def _services_stopped(self) -> Iterator[None]:
        """Stop all services for a block, and wake those that ran before."""
        pids = [
            process["pid"]
            for process in self._processes()
            if process["name"] != "broker" and process["pid"] and not is_stopped(process["pid"])
        ]
        born = [(pid, spawn.birth(pid)) for pid in pids]
        with undo_note(self._home, undo_actions.resume, processes=born):
            for pid in pids:
                stop(pid)
            yield

    @contextmanager
    def _helped(self, service: str) -> Iterator[None]:
        """Run two instances of a service at least, for a block."""
        instances = [process for process in self._processes() if process["name"] == service]
        if len(instances) > 1:
            yield
            return
        with undo_note(self._home, undo_actions.scale_back, service=service, number=1):
            control.tell(self._home, "scale", **{service: 2})
            yield

    def _stop_between_writes(self, service: str, process: str) -> None:
        """Stop a process for longer than its leases, but not with its database locked.

        Nothing but its end would free that lock, and so the supervisor would end it.
        """
        pid = self._pid(process)
        database = self._home.databases / f"{service}.sqlite"

        def is_stopped() -> bool:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: stands_still(pid), f"{process} is stopped")
            if fencing.blocks(pid, database):
                os.kill(pid, signal.SIGCONT)
                return False
            return True

        wait_until(is_stopped, f"{process} is between two writes")
        over = time.monotonic() + self._longest_lease()
        wait_until(lambda: time.monotonic() > over, "its leases are over", _LONGEST_S)

    def _is_well(self, service: str, label: str) -> bool:
        """Return True if a process answers that all of its threads move."""
        endpoint = self._process(label)["endpoint"]
        return endpoint is not None and run_beside(is_well(endpoint, service, self._home.secret))

    def _longest_lease(self) -> float:
        """Return the seconds after which another process has all that a hanging one has leased."""
        settings = self._home.settings()
        session = SESSION_S if settings.zookeeper else 0.0
        leases = settings.outbox_lease, settings.group_session, settings.worker_reserve, session
        return max(leases)

    def _others_crossings(self, service: str) -> Callable[[], int]:
        """Return a counter of the boundaries that all other instances cross from now on."""
        before = points.crossed_by(self._home, service, but=1)
        return lambda: points.crossed_by(self._home, service, but=1) - before


def stands_still(pid: int) -> bool:
    """Return True if a process is stopped now, or was ended meanwhile."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped already, or is gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return True


def stop(pid: int) -> None:
    """Stop a process in its tracks, if it is there."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).suspend()
