"""The inside of one service process, from its first line to its last."""

import asyncio
import gc
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import uvicorn
import uvloop
from fastapi import FastAPI

from labkit import http_limits
from labkit.home import Home
from labkit.payment_api import keys
from labkit.payment_api.http import HttpPoster
from labkit.payment_platform import process as platform
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime import clock, logs
from labkit.runtime.environment import on_this_machine
from labkit.runtime.injection import outages
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.injection.standing import StandingFaults
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.service import ServiceRuntime
from labkit.runtime.telemetry import tracing
from labkit.settings import Settings
from labkit.shop.order.contract import OrderService
from labkit.shop.pay.contract import PayService
from labkit.shop.wiring import GROUPS, NAMES, SERVICES
from labkit.stack.setup.topics import broker_of
from labkit.stack.supervisor import spawn
from labkit.web.health import Health
from labkit.web.orders import order_web
from labkit.web.payments import pay_web
from labkit.web.platform_client import MAX_CONNECTIONS, PlatformClient

#: The operator console: no part of the shop, which does not know of it.
CONSOLE = "console"
#: The processes that serve HTTP, on a socket that the supervisor holds.
WEBS = ("order-web", "pay-web", PLATFORM.name)
#: Under load hundreds of orders are alive at once: Python's own thresholds would have the collector
#: walk over all of them for every few that come, which took a fifth of a service's time.
_GC_THRESHOLDS = (50_000, 20, 50)


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
        return ServiceRuntime(wired, self.number, environment, GROUPS, NAMES, outside or {})


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
    outages.start(home.faults, f"{name}-{instance}")
    tracing.start(home.traces, name, instance, service.settings.tracing)
    uvloop.run(_run(service))
    tracing.stop()
    return None


async def _run(service: ServiceInstance) -> None:
    await PROCESSES[service.name](service)


async def run_service(service: ServiceInstance) -> None:
    """Run a service that takes calls and messages."""
    await _serve_calls(service.runtime())


async def run_pay(service: ServiceInstance) -> None:
    """Run the pay service, which alone knows the way to the payment platform, and its key."""
    home, endpoints = service.home, service.home.state()["endpoints"]
    platform_key = keys.public(home.keys, keys.PLATFORM)
    way = NetworkPath(StandingFaults(home.faults), service.name, PLATFORM.name)
    client = PlatformClient(
        endpoints["platform"],
        keys.APP_ID,
        keys.private(home.keys, keys.MERCHANT),
        platform_key,
        notify_url=f"{endpoints['pay-web']}/pay/callback",
        poster=HttpPoster(MAX_CONNECTIONS, service.settings.call_timeout, way),
    )
    await _serve_calls(service.runtime({"platform": client, "platform_key": platform_key}))
    await client.close()


async def run_order_web(service: ServiceInstance) -> None:
    """Run the web that takes orders."""
    runtime, flow = service.runtime(), service.settings.flow_timeout
    timeouts = {"confirm_order": flow, "open_order": flow / 2}  # together well below 10 s
    orders = runtime.calls.stub(OrderService, "order", timeouts)
    await _serve_web(service, runtime, order_web(orders, service.settings.queue_limit))


async def run_pay_web(service: ServiceInstance) -> None:
    """Run the web that takes payments, and the platform's callbacks."""
    runtime, flow = service.runtime(), service.settings.flow_timeout
    timeouts = {"create_payment": flow, "take_callback": flow / 2}
    payments = runtime.calls.stub(PayService, "pay", timeouts)
    await _serve_web(service, runtime, pay_web(payments, service.settings.queue_limit))


async def run_platform(service: ServiceInstance) -> None:
    """Run the payment platform, which is not the shop's."""
    await platform.serve(
        service.home, service.settings, service.web_socket, service.number, service.address
    )


async def _serve_calls(runtime: ServiceRuntime) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await runtime.start()
    await stopping.wait()
    await runtime.stop()


async def _serve_web(service: ServiceInstance, runtime: ServiceRuntime, web: FastAPI) -> None:
    app = Health(web, service.home.secret, runtime.ask_around)
    config = uvicorn.Config(app, **http_limits.options())
    runtime.announce(service.address.endpoint(service.web_socket.getsockname()[1]))
    await uvicorn.Server(config).serve(sockets=[service.web_socket])
    await runtime.calls.close()
    await asyncio.to_thread(runtime.registry.close)


#: The composition root: each kind of process that is ours or the platform's, in the order in which
#: people see them, and what runs in it.
PROCESSES: Mapping[str, Callable[[ServiceInstance], Awaitable[None]]] = {
    "order": run_service,
    "goods": run_service,
    "coupon": run_service,
    "user": run_service,
    "pay": run_pay,
    "log": run_service,
    "order-web": run_order_web,
    "pay-web": run_pay_web,
    PLATFORM.name: run_platform,
}


if __name__ == "__main__":  # the supervisor starts a process so where forking is unsafe
    spec = json.loads(sys.argv[1])
    spawn.hold_lifeline(spec.pop("lifeline"))
    spawn.wait_at_gate(sys.stdin.fileno())
    run_process(Home(spec.pop("home")), **spec)
