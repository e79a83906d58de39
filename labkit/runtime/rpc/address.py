"""The address at which a process listens, and the one by which others reach it."""

import socket
from dataclasses import dataclass

_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Address:
    """The address at which one process listens.

    Attributes:
        listen: `host:port`; port 0 is any that is free.
        known_as: `host:port` by which others reach it; empty: the address at which it listens, with
            the machine's name in place of 0.0.0.0 and [::].
    """

    listen: str = "127.0.0.1:0"
    known_as: str = ""

    @property
    def host(self) -> str:
        """Return the host of `listen`, without the brackets of an IPv6 address."""
        return _host_of(self.listen)

    @property
    def port(self) -> int:
        """Return the port of `listen`.

        Raises:
            ValueError: there is none; says what the address must look like.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{self.listen!r}: an address to listen on looks like 0.0.0.0:7000")
        return int(port)

    def endpoint(self, port: int) -> str:
        """Return the `host:port` by which others reach the process that listens on a port."""
        host = self.listen.rpartition(":")[0]
        if self.host in _EVERYWHERE:
            host = socket.gethostname()
        return self.known_as or f"{host}:{port}"


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Part an endpoint, for a socket.

    Raises:
        ValueError: it has no port.
    """
    return _host_of(endpoint), int(endpoint.rpartition(":")[2])


def _host_of(endpoint: str) -> str:
    """Return the host of an endpoint, `[::1]` without its brackets."""
    return endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")


#: Any free port, for processes of this machine alone.
LOOPBACK = Address()
