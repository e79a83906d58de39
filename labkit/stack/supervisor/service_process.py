"""The inside of one service process, from its first line to its last."""

import gc
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias

import uvloop

from labkit.home import Home
from labkit.payment_platform import tables as platform
from labkit.runtime import clock, logs
from labkit.runtime.environment import on_this_machine
from labkit.runtime.injection import outages
from labkit.runtime.injection.standing import StandingFaults
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.service import ServiceRuntime
from labkit.runtime.telemetry import tracing
from labkit.settings import Settings
from labkit.shop.wiring import GROUPS, NAMES, SENDERS, SERVICES
from labkit.stack.releases import schema
from labkit.stack.setup.brokers import broker_of

#: The operator console: no part of the shop, which does not know of it.
CONSOLE = "console"
#: The processes that serve HTTP, on a socket that the supervisor holds.
WEBS = ("order-web", "pay-web", platform.SERVICE)
#: Under load hundreds of orders are alive at once: Python's own thresholds would have the collector
#: walk over all of them for every few that come, which took a fifth of a service's time.
_GC_THRESHOLDS = (50_000, 20, 50)


#: The composition root: each kind of process that is ours or the platform's, in the order in which
#: people see them, and the function beside this module that runs in it.
PROCESSES: Mapping[str, str] = {
    "order": "run_services:run_service",
    "goods": "run_services:run_service",
    "coupon": "run_services:run_service",
    "user": "run_services:run_service",
    "pay": "run_pay:run_pay",
    "log": "run_services:run_service",
    "order-web": "run_webs:run_order_web",
    "pay-web": "run_webs:run_pay_web",
    platform.SERVICE: "run_platform:run_platform",
}


@dataclass(frozen=True)
class ServiceInstance:
    """One instance of a service that this process is to run.

    Attributes:
        home: where the lab lives.
        settings: of the lab.
        name: of the service.
        number: of the instance among those of its kind.
        listener: the socket to serve HTTP on; None for a service without HTTP.
        address: where it listens, and by which address others reach it.
    """

    home: Home
    settings: Settings
    name: str
    number: int
    listener: socket.socket | None
    address: Address

    @property
    def web_socket(self) -> socket.socket:
        """Return the socket of a process that serves HTTP."""
        assert self.listener, f"{self.name} serves HTTP and was given no socket"
        return self.listener

    def runtime(self, outside: Mapping[str, object] | None = None) -> ServiceRuntime:
        """Make the runtime of the service, given what it knows of systems that are not ours."""
        wired = SERVICES[self.name]
        environment = on_this_machine(
            self.home,
            self.settings,
            wired,
            self.number,
            broker_of(self.home, self.name, self.number),
            self.address,
        )
        return ServiceRuntime(
            wired, self.number, environment, GROUPS, SENDERS, NAMES, outside or {}
        )


def run_process(home: Home, name: str, instance: int, web: int | None) -> None:
    """Run one service until it is stopped.

    Args:
        home: where the lab lives.
        name: of the service.
        instance: its number among those of its kind.
        web: descriptor of the socket to serve HTTP on; None for a service without HTTP.
    """
    serve(home, name, instance, None if web is None else socket.socket(fileno=web))


def serve(
    home: Home,
    name: str,
    instance: int,
    listener: socket.socket | None,
    address: Address = LOOPBACK,
) -> None:
    """Run one service until it is stopped.

    Args:
        home: where the lab lives.
        name: of the service.
        instance: its number among those of its kind.
        listener: the socket to serve HTTP on; None for a service without HTTP.
        address: where it listens, and by which address others reach it.
    """
    logs.set_up()
    gc.set_threshold(*_GC_THRESHOLDS)
    clock.follow(home)
    clock.step_with(StandingFaults(home.faults), f"{name}-{instance}")
    if name == CONSOLE:  # it watches the shop, and is neither traced nor counted with it
        assert listener, "the console serves HTTP and was given no socket"
        from labkit.console import process as console  # of this process alone: no other waits

        return uvloop.run(console.serve(home, listener))
    service = ServiceInstance(home, home.settings(), name, instance, listener, address)
    if name in SERVICES:
        schema.refuse_unusable(home, SERVICES[name])
    outages.start(home.faults, f"{name}-{instance}")
    tracing.start(home.traces, name, instance, service.settings.tracing)
    uvloop.run(_run(service))
    tracing.stop()
    return None


#: Runs what a process is for, until it is told to end.
Run: TypeAlias = Callable[[ServiceInstance], Awaitable[None]]


async def _run(service: ServiceInstance) -> None:
    await load(service.name)(service)


def load(name: str) -> Run:
    """Import what runs in a kind of process, of which another kind needs nothing."""
    module, _, function = PROCESSES[name].partition(":")
    run: Run = getattr(import_module(f"labkit.stack.supervisor.{module}"), function)
    return run


def load_all() -> None:
    """Import what runs in any process, so that a forked one has it."""
    for name in PROCESSES:
        load(name)
