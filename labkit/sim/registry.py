"""A simulated registry: who lives is known at once, and worker numbers are held by the living."""

from collections.abc import Callable, Sequence

from labkit.runtime.registry.ids import WorkerLease
from labkit.runtime.registry.leases import lease_worker
from labkit.runtime.registry.ports import Instance
from labkit.sim.process import Process


class _Reserved:
    """The port `ReservedTime`: it outlives the processes."""

    def __init__(self) -> None:
        self._until_ms = 0

    def read_ms(self) -> int:
        """Return the time."""
        return self._until_ms

    def write_ms(self, until_ms: int) -> None:
        """Replace the time."""
        self._until_ms = until_ms


class Facts:
    """The facts that all processes find in the registry.

    Attributes:
        instances: process → where it answers.
        holders: worker number → the process that holds it, or held it last.
        reserved: worker number → its note.
    """

    def __init__(self) -> None:
        self.instances: dict[Process, Instance] = {}
        self.holders: dict[int, Process] = {}
        self.reserved: dict[int, _Reserved] = {}


class SimRegistry:
    """The port `Registry` of one process, and its port `WorkerNumbers`.

    Args:
        facts: the registry's.
        process: the process.
        now_ms: its wall clock.
    """

    def __init__(self, facts: Facts, process: Process, now_ms: Callable[[], int]) -> None:
        self._facts = facts
        self._process = process
        self._now_ms = now_ms

    def announce(self, instance: Instance) -> None:
        """Announce that this process serves from now on, until it dies."""
        self._facts.instances[self._process] = instance

    def withdraw(self, service: str, instance: int) -> None:  # noqa: ARG002
        """Announce that this process serves no more."""
        self._facts.instances.pop(self._process, None)

    def instances(self, service: str, fresh: float = 0) -> Sequence[Instance]:  # noqa: ARG002
        """Return the living instances of a service."""
        return [
            instance
            for process, instance in self._facts.instances.items()
            if instance.service == service and process.is_alive
        ]

    def lease_worker(self, reserve_ms: int) -> WorkerLease:
        """Take a worker number that no living process has and whose reserved time is over."""
        return lease_worker(self, self._now_ms, reserve_ms)

    def hold(self, worker: int) -> _Reserved | None:
        """Take a number; None if another living process has it."""
        holder = self._facts.holders.get(worker)
        if holder and holder.is_alive:
            return None
        self._facts.holders[worker] = self._process
        return self._facts.reserved.setdefault(worker, _Reserved())

    def release(self, worker: int) -> None:
        """Give a number back."""
        del self._facts.holders[worker]

    def close(self) -> None:
        """Close the registry."""
