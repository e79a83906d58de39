"""Where a process listens, and by which address others reach it."""

import socket
from dataclasses import dataclass

_EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True)
class Address:
    """Where one process listens.

    Attributes:
        listen: `host:port`; port 0 is any that is free.
        known_as: `host:port` by which others reach it; empty: where it listens, under the machine's
            name where that is everywhere.
    """

    listen: str = "127.0.0.1:0"
    known_as: str = ""

    @property
    def host(self) -> str:
        """Of `listen`."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        """Of `listen`.

        Raises:
            ValueError: it is none; says what the address must look like.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{self.listen!r}: an address to listen on looks like 0.0.0.0:7000")
        return int(port)

    def address(self, port: int) -> str:
        """By which address others reach it, once it is known on which port it listens."""
        host = socket.gethostname() if self.host == _EVERYWHERE else self.host
        return self.known_as or f"{host}:{port}"


#: Any free port, for processes of this machine alone.
LOOPBACK = Address()
