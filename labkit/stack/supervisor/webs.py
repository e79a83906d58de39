"""The sockets on which a lab serves HTTP: its supervisor holds them, and children inherit them."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from labkit.stack.supervisor import ports

log = logging.getLogger(__name__)


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

    def drop_waiting(self) -> None:
        """Drop every request that waits in a backlog; call it while no child serves.

        The sockets stay open: of a port that is let go for a moment, the system may make somebody
        else's, and an open page would go on asking there.
        """
        for listener in self._sockets.values():
            listener.setblocking(False)
            try:
                for _ in range(ports.BACKLOG + 1):
                    with suppress(ConnectionError):  # its client has gone
                        listener.accept()[0].close()
            except BlockingIOError:
                continue  # none waits any more
            except OSError as error:  # above all, there is no descriptor for it
                log.warning("a request of before stays in a backlog: %s", error)
