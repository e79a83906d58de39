"""The sockets on which a lab serves HTTP: its supervisor holds them, and children inherit them."""

from collections.abc import Iterable, Mapping

from labkit.stack.supervisor import ports


class WebSockets:
    """The listening sockets of the webs; each keeps its port over restarts where it is free.

    Args:
        names: of the webs.
        endpoints: name → the URL that a web had in an earlier life of the lab.
    """

    def __init__(self, names: Iterable[str], endpoints: Mapping[str, str | None]) -> None:
        self._sockets = {name: ports.listen(ports.of(endpoints.get(name))) for name in names}

    def descriptors(self) -> dict[str, int]:
        """Map each web to the descriptor of its socket."""
        return {name: listener.fileno() for name, listener in self._sockets.items()}

    def urls(self) -> dict[str, str]:
        """Map each web to its URL."""
        return {
            name: "http://{}:{}".format(*listener.getsockname())
            for name, listener in self._sockets.items()
        }

    def renew(self) -> None:
        """Replace the sockets, and with them drop every request that waits in their backlogs."""
        for name, listener in self._sockets.items():
            port = listener.getsockname()[1]
            listener.close()
            self._sockets[name] = ports.listen(port)
