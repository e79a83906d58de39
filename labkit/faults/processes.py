"""Processes that die, stand still, or come back when others have taken their place."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from labkit.faults import points, undo_actions
from labkit.faults.lab_verbs import LabVerbs, until
from labkit.faults.rule_verbs import WITH_INSTANCES, one_of
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import NotReached, Reach, verb
from labkit.runtime.registry.zookeeper_session import SESSION_S
from labkit.runtime.rpc.connection import OPTIONS
from labkit.stack.supervisor import control, fencing, launch, spawn

_LONGEST = 3600.0


class ProcessVerbs(LabVerbs):
    """What can befall a process."""

    def kill(self, process: str) -> None:
        """Kill a process with −9, and wait until it is started again and serves."""
        before = self._pid(process)
        os.kill(before, signal.SIGKILL)
        until(lambda: self._serves(process, not_pid=before), f"{process} did not come back")

    @verb
    def killed(self, process: str) -> Iterator[Reach]:
        """A process is killed with −9 and stays down.

        Args:
            process: as `labkit status` names it; `goods` is `goods-1`.
        """
        self._process(process)
        with undo_note(self._home, undo_actions.release, names=[process]):
            control.tell(self._home, "hold", name=process)
            until(lambda: not self._process(process)["pid"], f"{process} did not die")
            try:
                yield Reach(lambda: 1, f"{process} did not die")
            finally:
                undo_actions.release(self._home, [process])
                until(lambda: self._serves(process), f"{process} did not come back")

    @verb
    def paused(self, process: str) -> Iterator[Reach]:
        """A process stands still (SIGSTOP): it keeps its locks and its connections.

        Where the lock of a database is among them, and another instance needs it, the supervisor
        ends the process after a second or two.

        Args:
            process: as `labkit status` names it; `goods` is `goods-1`.
        """
        pid = self._pid(process)
        with undo_note(self._home, undo_actions.resume, processes=[(pid, spawn.birth(pid))]):
            os.kill(pid, signal.SIGSTOP)
            until(lambda: stands_still(pid), f"{process} did not stand still")
            yield Reach(lambda: 1, f"{process} did not stand still")

    @verb
    def zombie(self, service: str) -> Iterator[Reach]:
        """An instance hangs past all its leases, another one takes its place, and it comes back.

        The other instance is there for the block alone, where there is none yet. The block begins
        when the leases are over: of outbox rows, of its place in the consumer group, of ids.

        Args:
            service: one with a database; its first instance hangs.

        Raises:
            NotReached: it did not come back as the process that it was.
        """
        one_of(service, WITH_INSTANCES, "service with a database")
        first = f"{service}-1"
        with self._helped(service):
            pid = self._pid(first)
            with undo_note(self._home, undo_actions.resume, processes=[(pid, spawn.birth(pid))]):
                self._stop_between_writes(service, first)
                taken = self._taken_over(service)
                yield Reach(taken, f"no other {service} did anything meanwhile")
            until(lambda: self._serves(first), f"{first} did not come back")
            if self._process(first)["pid"] != pid:
                raise NotReached(f"zombie: {first} was ended while it hung")
            until(lambda: answers(self._process(first)["endpoint"] or ""), f"{first} hangs still")

    @contextmanager
    def _services_stopped(self) -> Iterator[None]:
        """Stop all services for a block, and wake those that ran before."""
        services = [one for one in launch.status(self._home)["services"] if one["name"] != "broker"]
        pids = [
            service["pid"]
            for service in services
            if service["pid"] and not is_stopped(service["pid"])
        ]
        born = [(pid, spawn.birth(pid)) for pid in pids]
        with undo_note(self._home, undo_actions.resume, processes=born):
            for pid in pids:
                stop(pid)
            yield

    @contextmanager
    def _helped(self, service: str) -> Iterator[None]:
        """Have two instances of a service at least, for a block."""
        living = [one for one in launch.status(self._home)["services"] if one["name"] == service]
        if len(living) > 1:
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
            until(lambda: stands_still(pid), f"{process} did not stand still")
            if fencing.blocks(pid, database):
                os.kill(pid, signal.SIGCONT)
                return False
            return True

        until(is_stopped, f"{process} wrote all the time")
        over = time.monotonic() + self._longest_lease()
        until(lambda: time.monotonic() > over, "its leases were not over", _LONGEST)

    def _longest_lease(self) -> float:
        """Seconds until whatever a process that hangs has leased is another's."""
        settings = self._home.settings()
        session = SESSION_S if settings.zookeeper else 0.0
        leases = settings.outbox_lease, settings.group_session, settings.worker_reserve, session
        return max(leases)

    def _taken_over(self, service: str) -> Callable[[], int]:
        """Counts what all others of a service do from now on: each crossing of a boundary."""
        before = points.crossed_by(self._home, service, but=1)
        return lambda: points.crossed_by(self._home, service, but=1) - before


def answers(endpoint: str) -> bool:
    """Return True if a service says that it serves, when it is asked after its health."""
    with grpc.insecure_channel(endpoint, OPTIONS) as channel:
        try:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def stands_still(pid: int) -> bool:
    """Whether a process is stopped now, or was ended meanwhile."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_stopped(pid: int) -> bool:
    """Return True where a process is stopped already, or is gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return True


def stop(pid: int) -> None:
    """Stop a process in its tracks, if it is there."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).suspend()
