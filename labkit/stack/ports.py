"""Ports of the loopback: kept over restarts where they are free."""

import socket
import sys


def of(endpoint: str | None) -> int:
    """The port of `host:port` or `http://host:port`; 0 for none."""
    return int((endpoint or "").rpartition(":")[2] or 0)


def listen(port: int) -> socket.socket:
    """Listen on a wanted port where it is free, else on any."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def reserve(wanted: int) -> tuple[int, socket.socket]:
    """A port for a program that is told its number and listens there itself.

    On Linux nobody is given the port by chance for as long as the socket is open, not even while
    the program is down: ten labs that start at once would else now and then meet at one port. The
    program must set SO_REUSEADDR, as servers do.

    Args:
        wanted: taken where nobody has it; 0 for any.

    Returns:
        The port, and what keeps it; on macOS, where two cannot have one port, that is closed.
    """
    keeper = socket.socket()
    try:
        keeper.bind(("127.0.0.1", wanted))
    except OSError:
        keeper.bind(("127.0.0.1", 0))
    port: int = keeper.getsockname()[1]
    # Only now: with it, we would have shared a port that another lab keeps.
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform != "linux":
        keeper.close()
    return port, keeper


def answers(endpoint: str) -> bool:
    """Whether somebody accepts connections at `host:port`."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True
