"""A client for tools: it calls the services of a running lab from outside."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from typing import TypeVar

from labkit.home import Home
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import UNBROKEN
from labkit.runtime.registry.open import open_registry
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.ports import Broken
from labkit.runtime.rpc.protocol import HEALTH

A = TypeVar("A")
_making_loop = threading.Lock()  # or two threads would make a loop each


@asynccontextmanager
async def calls_from(tool: str, home: Home, timeout: float) -> AsyncIterator[Calls]:
    """Give a block calls to the services of a lab.

    Args:
        tool: the name of the caller, for errors.
        home: of a running lab, whose settings say where the services are found.
        timeout: seconds that a call has, with all its tries.
    """
    settings = home.settings()
    registry = open_registry(home, settings)
    calls = Calls(tool, registry, connect_with(home.secret), None, timeout)
    try:
        yield calls
    finally:
        await calls.close()
        await asyncio.to_thread(registry.close)


async def is_well(endpoint: str, service: str, secret: str, seconds: float = 1.0) -> bool:
    """Ask an instance whether it is well: all of its threads move.

    Args:
        endpoint: `host:port`.
        service: the name of the service.
        secret: of the home.
        seconds: after which no answer means that it is not.
    """
    try:
        await ask_once(endpoint, service, secret, HEALTH, b"", seconds)
    except (Broken, Unknown):
        return False
    return True


async def ask_once(
    endpoint: str, service: str, secret: str, method: str, body: bytes, seconds: float
) -> bytes:
    """Ask one instance on a connection of its own, as `Connection.ask` does within some seconds."""
    connection = connect_with(secret)(endpoint, service, lambda _: None, UNBROKEN)
    try:
        return await connection.ask(method, body, time.monotonic() + seconds)
    finally:
        await connection.close()


def run_beside(work: Coroutine[object, None, A]) -> A:
    """Run a coroutine from synchronous code, also where a loop runs already, as in a notebook."""
    with _making_loop:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(work, loop).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return a loop in a thread of its own, which never ends: connections stay open."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
