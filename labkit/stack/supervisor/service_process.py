"""What runs inside one service process, from its first line to its last."""

import asyncio
import gc
import json
import signal
import socket
import sys
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from labkit import http_limits
from labkit.console import process as console
from labkit.home import Home
from labkit.payment_api import keys
from labkit.payment_platform import process as platform
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime import clock, logs
from labkit.runtime.injection import outages
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.injection.standing import StandingFaults
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.service import Runtime
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
from labkit.web.platform_client import PlatformClient

#: The operator console: no part of the shop, which does not know of it.
CONSOLE = "console"
#: Who serves HTTP, on a socket that the supervisor holds.
WEBS = ("order-web", "pay-web", PLATFORM.name)
#: Every kind of process that is ours or the platform's, in the order in which people are told.
PROCESSES = (*SERVICES, PLATFORM.name)
#: Under load hundreds of orders are alive at once: Python's own thresholds would have the collector
#: walk over all of them for every few that come, which took a fifth of a service's time.
_COLLECT = (50_000, 20, 50)


def run_process(home: Home, name: str, instance: int, web: int | None) -> None:
    """Run one service until it is told to stop.

    Args:
        home: where the lab lives.
        name: of the service.
        instance: which one of its kind.
        web: descriptor of the socket to serve HTTP on; None for a service without HTTP.
    """
    serve(home, name, instance, None if web is None else socket.socket(fileno=web))


def serve(
    home: Home, name: str, instance: int, listener: socket.socket | None, place: Address = LOOPBACK
) -> None:
    """Run one service until it is told to stop.

    Args:
        home: where the lab lives.
        name: of the service.
        instance: which one of its kind.
        listener: the socket to serve HTTP on; None for a service without HTTP.
        place: where it listens, and by which address others reach it.
    """
    logs.set_up()
    gc.set_threshold(*_COLLECT)
    clock.follow(home)
    clock.step_with(StandingFaults(home.faults), f"{name}-{instance}")
    if name == CONSOLE:
        assert listener  # it serves HTTP and nothing else
        return uvloop.run(console.serve(home, listener))
    settings = home.settings()
    outages.start(home.faults, f"{name}-{instance}")
    tracing.start(home.traces, name, instance, settings.tracing)
    if name == PLATFORM.name:
        assert listener  # it serves HTTP and nothing else
        uvloop.run(platform.serve(home, settings, listener, instance, place))
    else:
        uvloop.run(_run_service(home, settings, name, instance, listener, place))
    tracing.stop()
    return None


async def _run_service(
    home: Home,
    settings: Settings,
    name: str,
    instance: int,
    listener: socket.socket | None,
    place: Address,
) -> None:
    outside = _platform(home, settings, name) if name == "pay" else {}
    runtime = Runtime(
        SERVICES[name],
        instance,
        home,
        settings,
        GROUPS,
        NAMES,
        broker_of(home, name),
        outside,
        place,
    )
    if listener:
        await _serve_web(runtime, listener, place)
    else:
        await _serve(runtime)
    if "platform" in outside:
        await outside["platform"].close()


def _platform(home: Home, settings: Settings, name: str) -> dict[str, Any]:
    """What the pay service knows of the payment platform: the way there, and its public key."""
    ends, platform_key = home.state()["endpoints"], keys.public(home.keys, keys.PLATFORM)
    client = PlatformClient(
        ends["platform"],
        keys.APP_ID,
        keys.private(home.keys, keys.MERCHANT),
        platform_key,
        notify_url=f"{ends['pay-web']}/pay/callback",
        timeout=settings.call_timeout,
        way=NetworkPath(StandingFaults(home.faults), name, PLATFORM.name),
    )
    return {"platform": client, "platform_key": platform_key}


def _make_web(runtime: Runtime) -> FastAPI:
    limit, flow = runtime.settings.queue_limit, runtime.settings.flow_timeout
    if runtime.service.name == "pay-web":
        times = {"create_payment": flow, "take_callback": flow / 2}
        return pay_web(runtime.calls.stub(PayService, "pay", times), limit)
    times = {"confirm_order": flow, "open_order": flow / 2}  # together well below 10 s
    return order_web(runtime.calls.stub(OrderService, "order", times), limit)


async def _serve(runtime: Runtime) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await runtime.start()
    await stopping.wait()
    await runtime.stop()


async def _serve_web(runtime: Runtime, listener: socket.socket, place: Address) -> None:
    web = Health(_make_web(runtime), runtime.home.secret, runtime.ask_around)
    config = uvicorn.Config(web, **http_limits.options())
    runtime.announce(place.address(listener.getsockname()[1]))
    await uvicorn.Server(config).serve(sockets=[listener])
    await runtime.calls.close()
    await asyncio.to_thread(runtime.registry.close)


if __name__ == "__main__":  # how the supervisor starts a process where forking is unsafe
    spec = json.loads(sys.argv[1])
    spawn.hold_lifeline(spec.pop("lifeline"))
    spawn.wait_at_gate(sys.stdin.fileno())
    run_process(Home(spec.pop("home")), **spec)
