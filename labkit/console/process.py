"""What runs inside the console's process."""

import asyncio
import socket

import uvicorn

from labkit import http_limits
from labkit.console.guard import Guard
from labkit.console.site import make_app
from labkit.console.watch import Watch
from labkit.home import Home


async def serve(home: Home, listener: socket.socket) -> None:
    """Serve until told to stop.

    A process of its own, and no page of a web: what is looked at dies and hangs, and this must not
    die with it; and nobody who may order at the shop may come near these buttons.

    Args:
        home: where the lab lives.
        listener: the socket to serve HTTP on, of the loopback.
    """
    guard = Guard(home.console_token(), listener.getsockname()[1])
    watch = Watch(home)
    config = uvicorn.Config(make_app(home, guard, watch), **http_limits.options())
    await uvicorn.Server(config).serve(sockets=[listener])
    await asyncio.to_thread(watch.close)
