"""Ports of the loopback: kept over restarts where they are free."""

import socket


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


def free(wanted: int) -> int:
    """A port that nobody listens on, the wanted one if it is."""
    with listen(wanted) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(endpoint: str) -> bool:
    """Whether somebody accepts connections at `host:port`."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True
