"""A cable between a service and its server, which can be parted: nothing passes, nothing closes."""

import socket
import threading
from contextlib import suppress

_CHUNK = 65536


class Cable:
    """Takes connections on a port of its own and passes them on.

    Args:
        address: `host:port` of the server.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = host, int(port)
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.taken = self.held = 0
        self._in_thread(self._accept)

    def part(self) -> None:
        """From now on nothing passes, and whoever connects is not answered."""
        self.held = 0
        self._whole.clear()

    def join(self) -> None:
        """All that was held back passes, as TCP sends again what was not acknowledged."""
        self._whole.set()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
        self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                self.taken += 1
                self._in_thread(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        self._await_whole()
        with suppress(OSError):
            far = socket.create_connection(self._server)
            self._in_thread(self._pass, near, far)
            self._pass(far, near)
        near.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._await_whole()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _await_whole(self) -> None:
        if not self._whole.is_set():
            self.held += 1
            self._whole.wait()

    def _in_thread(self, work: object, *sockets: socket.socket) -> None:
        threading.Thread(target=work, args=sockets, daemon=True).start()
