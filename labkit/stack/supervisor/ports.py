"""Ports of the loopback: kept over restarts where they are free."""

import random
import socket
import sys
from contextlib import ExitStack

BACKLOG = 512  # connections that wait for a process to accept them


def of(endpoint: str | None) -> int:
    """Return the port of `host:port` or `http://host:port/…`; 0 for no endpoint."""
    return int((endpoint or "").rpartition(":")[2].partition("/")[0] or 0)


def listen(port: int) -> socket.socket:
    """Listen on a wanted port where it is free, else on any."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    return listener


def reserve(wanted: int) -> tuple[int, ExitStack]:
    """Reserve a port for a program that gets its number and listens there itself.

    On Linux the system gives the port to nobody by chance for as long as the keeper is open, not
    even while the program is down: ten labs that start at once would else now and then meet at one
    port. The program must set SO_REUSEADDR, as servers do.

    Args:
        wanted: the port to take where nobody has it; 0 for any.

    Returns:
        The port, and its keeper; on macOS, where two cannot have one port, that is closed.
    """
    reserved = _keep(wanted) if wanted else None
    while reserved is None:
        reserved = _keep(0)
    if sys.platform != "linux":
        reserved[1].close()
    return reserved


def _keep(wanted: int) -> tuple[int, ExitStack] | None:
    """Bind a port and do not listen; None where somebody has it."""
    keeper = socket.socket()
    with ExitStack() as held:
        held.enter_context(keeper)
        if wanted:  # connections of our last broker may linger there
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            keeper.bind(("127.0.0.1", wanted))
            port: int = keeper.getsockname()[1]
            if sys.platform == "linux":  # two keepers could share the port, but never this name
                name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                name.bind(f"\0labkit-port-{port}")
        except OSError:
            return None
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return port, held.pop_all()


def free(count: int) -> int:
    """Return the first of so many free ports in a row, for servers that keep them over restarts.

    They lie below those that systems give to clients: a server that was killed could find its port
    taken when it comes back.
    """
    while True:
        first = random.randrange(20_000, 32_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first


def answers(endpoint: str) -> bool:
    """Return True if somebody accepts connections at `host:port`."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True
