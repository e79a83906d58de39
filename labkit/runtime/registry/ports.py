"""The port of the registry: who serves where, and which worker number a process has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from labkit.runtime.registry.ids import WorkerLease


@dataclass(frozen=True)
class Instance:
    """One process that serves, and the endpoint where it answers calls (`host:port`)."""

    service: str
    instance: int
    endpoint: str
    pid: int


class Registry(Protocol):
    """The registry of a home."""

    def announce(self, instance: Instance) -> None:
        """Announce that this process serves from now on, until it dies.

        Raises:
            RuntimeError: another living process has announced the same instance.
        """
        ...

    def withdraw(self, service: str, instance: int) -> None:
        """Announce that this process serves no more; calls go elsewhere from now on."""
        ...

    def instances(self, service: str, fresh: float = 0) -> Sequence[Instance]:
        """Return the living instances of a service.

        Args:
            service: name of the service.
            fresh: how many seconds old the answer may be.
        """
        ...

    def lease_worker(self, reserve_ms: int) -> WorkerLease:
        """Take a worker number that no living process has and whose reserved time is over.

        Args:
            reserve_ms: how far ahead of use time is reserved.

        Raises:
            RuntimeError: all 1,024 numbers are taken.
        """
        ...

    def close(self) -> None:
        """Close the registry."""
        ...
