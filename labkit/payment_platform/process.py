"""The platform's process: one port for the API, the bill and the cashier page."""

import asyncio
import os
import secrets
import socket
from functools import partial

import uvicorn
from fastapi import FastAPI

from labkit import http_app, http_limits
from labkit.home import Home
from labkit.payment_api import keys
from labkit.payment_api.http import HttpPoster
from labkit.payment_platform import answers, api, cashier, notices
from labkit.payment_platform.api import Api
from labkit.payment_platform.notifier import WORKERS, Notifier
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime import critical
from labkit.runtime.clock import LabClock, MachineClock, wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.open import open_registry
from labkit.runtime.registry.ports import Instance, Registry
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.wiring import failpoints_of
from labkit.settings import Settings

_ANSWER_TIMEOUT_S = 5.0  # of a notice
_MERCHANT = "pay-web"  # where notices go
_KEEP_SECONDS = 30  # an idle connection: longer than the merchant keeps its own


async def serve(
    home: Home,
    settings: Settings,
    listener: socket.socket,
    instance: int,
    place: Address = LOOPBACK,
) -> None:
    """Serve until told to stop.

    Args:
        home: where the lab lives.
        settings: of the lab.
        listener: the socket to serve HTTP on.
        instance: which one of its kind.
        place: where that is, and by which address users reach the cashier.
    """
    address = place.endpoint(listener.getsockname()[1])
    registry = open_registry(home, settings)
    platform = assemble(home, settings, registry, f"http://{address}", instance)
    notifying = critical.create_task(platform.notifier.run(), "notifier")
    registry.announce(Instance(PLATFORM.name, instance, address, os.getpid()))
    own = http_limits.options(timeout_keep_alive=_KEEP_SECONDS)
    config = uvicorn.Config(make_app(platform), **own)
    await uvicorn.Server(config).serve(sockets=[listener])
    notifying.cancel()
    await asyncio.to_thread(platform.database.close)
    await asyncio.to_thread(registry.close)


def assemble(home: Home, settings: Settings, registry: Registry, url: str, instance: int) -> Api:
    """Assemble the platform; its notifier works on the running loop."""
    loop = asyncio.get_running_loop()
    failpoints = Failpoints(home.faults, f"{PLATFORM.name}-{instance}", failpoints_of(PLATFORM))
    lease = registry.lease_worker(int(settings.worker_reserve * 1000))

    def committed(_events: object) -> None:
        loop.call_soon_threadsafe(notifier.wake)

    context = TransactionDefaults(
        service=PLATFORM.name,
        clock=LabClock(home.clock_file),
        ids=IdMaker(lease, wall_ms),
        settings=settings,
        failpoints=failpoints,
        write_outbox=notices.write,
        committed=committed,
    )
    database = Database(home.database_url(PLATFORM.name), context)
    key = keys.private(home.keys, keys.PLATFORM)
    way = NetworkPath(failpoints.standing, PLATFORM.name, _MERCHANT)
    notifier = Notifier(database, failpoints, key, HttpPoster(WORKERS, _ANSWER_TIMEOUT_S, way))
    merchant_key = keys.public(home.keys, keys.MERCHANT)
    return Api(
        database,
        notifier,
        failpoints,
        key,
        merchant_key,
        url,
        MachineClock(),
        partial(secrets.token_urlsafe, 32),
    )


def make_app(platform: Api) -> FastAPI:
    """Make the web application: API, bill and cashier."""
    app = http_app.make_app("labkit payment platform", answers.ON_ERROR)
    api.add_routes(app, platform)
    cashier.add_routes(app, platform.database)
    return app
