"""The environment of a service process: every port through which it reaches the world.

A process of a lab stands on databases, a broker, sockets and the clocks of its machine. Whatever
gives it others, as a simulation does, runs the same services.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from labkit.home import Home
from labkit.runtime.clock import BusinessClock, Clock, LabClock, MachineClock, wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging.ports import Broker, StepRunner
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.open import open_registry
from labkit.runtime.registry.ports import Registry
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.ports import Connect, Server
from labkit.runtime.rpc.server import StreamServer
from labkit.runtime.wiring import Service, failpoints_of
from labkit.settings import Settings

A_co = TypeVar("A_co", covariant=True)


class StepDatabase(StepRunner, Protocol):
    """The database of a service, as one process has it open."""

    def close(self) -> None:
        """Finish what was queued and close."""
        ...


OpenDatabase = Callable[[TransactionDefaults], StepDatabase]


@dataclass(frozen=True)
class Environment:
    """The ports of one service process.

    Attributes:
        settings: of the lab.
        clock: the clocks of the process.
        lab_clock: business time.
        failpoints: what can be made to fail in the process.
        registry: who serves where.
        broker: where events go and come from.
        connect: opens connections to other services.
        make_server: makes what answers the calls of others.
        make_ids: takes a worker number, and makes ids under it.
        open_database: opens the database of the service.
    """

    settings: Settings
    clock: Clock
    lab_clock: BusinessClock
    failpoints: Failpoints
    registry: Registry
    broker: Broker
    connect: Connect
    make_server: Callable[[], Server]
    make_ids: Callable[[], IdMaker]
    open_database: OpenDatabase


def on_this_machine(
    home: Home,
    settings: Settings,
    service: Service,
    instance: int,
    broker: Broker,
    address: Address = LOOPBACK,
) -> Environment:
    """Return the environment of a process of a lab.

    Args:
        home: of the lab.
        settings: of the lab.
        service: its line of the wiring table.
        instance: its number among those of the service, from 1.
        broker: where events go and come from.
        address: where it answers calls.
    """
    registry = open_registry(home, settings)
    return Environment(
        settings=settings,
        clock=MachineClock(),
        lab_clock=LabClock(home.clock_file),
        failpoints=Failpoints(home.faults, f"{service.name}-{instance}", failpoints_of(service)),
        registry=registry,
        broker=broker,
        connect=connect_with(home.secret, settings.queue_limit),
        make_server=lambda: StreamServer(service.name, home.secret, address),
        make_ids=lambda: IdMaker(
            registry.lease_worker(int(settings.worker_reserve * 1000)), wall_ms
        ),
        open_database=lambda defaults: Database(home.database_url(service.name), defaults),
    )
