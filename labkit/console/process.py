"""The inside of the console's process."""

import asyncio
import socket

import uvicorn

from labkit import http_limits
from labkit.console.guard import Guard
from labkit.console.site import make_app
from labkit.console.watch import Watch
from labkit.home import Home


async def serve(home: Home, listener: socket.socket) -> None:
    """Serve until the process is stopped.

    The console is a process of its own, and no page of a web: the processes that it shows die and
    hang, and it must not die with them; and clients of the shop must not come near its buttons.

    Args:
        home: where the lab lives.
        listener: the socket to serve HTTP on, of the loopback.
    """
    guard = Guard(home.console_token(), listener.getsockname()[1])
    watch = Watch(home)
    config = uvicorn.Config(make_app(home, guard, watch), **http_limits.options())
    await uvicorn.Server(config).serve(sockets=[listener])
    await asyncio.to_thread(watch.close)
