"""The supervisor's port for commands, which never waits for a client.

Everybody on the machine can connect. A client that does not know the home's secret gets no answer,
and however many of them there are, and however slowly they write, they delay nobody.
"""

import hmac
import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from labkit.stack.supervisor import ports

_MAX_LINE_BYTES = 64 * 1024
_LINE_S = 2.0
_MAX_CLIENTS = 32

Commands: TypeAlias = Mapping[str, Callable[..., None]]


class Client:
    """A connection on which a line is awaited.

    Args:
        connection: never blocks.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.line = b""
        self.deadline = time.monotonic() + _LINE_S

    def read(self) -> bool:
        """Read what has come; return True if the line, or the connection, has ended."""
        try:
            while not self.line.endswith(b"\n") and len(self.line) < _MAX_LINE_BYTES:
                part = self.connection.recv(4096)
                if not part:
                    return True
                self.line += part
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


class Listener:
    """Listens on a port of the loopback, as part of a selector's loop.

    Args:
        selector: calls the `data` of each of its keys when something can be read.
        secret: of the home.
        at_once: commands that are done as soon as they come, whatever is being done.
        in_turn: commands that wait until `run_commands`, one after the other.
    """

    def __init__(
        self, selector: selectors.BaseSelector, secret: str, at_once: Commands, in_turn: Commands
    ) -> None:
        self._selector = selector
        self._secret = secret.encode()
        self._at_once = at_once
        self._in_turn = in_turn
        self._clients: dict[int, Client] = {}
        self._queue: deque[tuple[socket.socket, Callable[[], None]]] = deque()
        self._socket = ports.listen(0)
        self._socket.setblocking(False)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """Return the number of the port."""
        port: int = self._socket.getsockname()[1]
        return port

    def run_commands(self) -> None:
        """Do the commands that wait for their turn."""
        while self._queue:
            connection, command = self._queue.popleft()
            with connection:
                _reply(connection, command)

    def drop_the_slow(self) -> None:
        """Hang up on every client whose line has not come in time."""
        now = time.monotonic()
        late = [number for number, client in self._clients.items() if client.deadline < now]
        for number in late:
            self._forget(number).close()

    def _accept(self) -> None:
        """Accept a connection. Of too many clients that say nothing, drop the first."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:  # it went away again
            return
        number = connection.fileno()
        self._clients[number] = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, partial(self._read, number))
        self._read(number)
        if len(self._clients) > _MAX_CLIENTS:
            self._forget(next(iter(self._clients))).close()

    def _read(self, number: int) -> None:
        client = self._clients.get(number)
        if client and client.read():
            self._run_or_queue(self._forget(number), client.line)

    def _run_or_queue(self, connection: socket.socket, line: bytes) -> None:
        try:
            name, arguments = self._parse(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            connection.close()  # no word to a stranger
            return
        if name in self._in_turn:
            self._queue.append((connection, partial(self._in_turn[name], **arguments)))
            return
        with connection:
            _reply(connection, partial(self._at_once[name], **arguments))

    def _parse(self, line: bytes) -> tuple[str, dict[str, Any]]:
        """Return the command of a line, and its arguments.

        Raises:
            ValueError: it is no command, or without the secret.
            KeyError: there is no such command.
        """
        request = json.loads(line)
        secret = str(request.get("secret", "")).encode(errors="replace")
        if not hmac.compare_digest(secret, self._secret):
            raise ValueError("a stranger")
        name, arguments = request["command"], dict(request["arguments"])
        if name not in {**self._at_once, **self._in_turn}:
            raise KeyError(name)
        return name, arguments

    def _forget(self, number: int) -> socket.socket:
        connection = self._clients.pop(number).connection
        self._selector.unregister(connection)
        return connection


def _reply(connection: socket.socket, command: Callable[[], None]) -> None:
    """Do a command, and answer with its error where it fails: the lab goes on."""
    try:
        command()
        reply: dict[str, object] = {"done": True}
    except Exception as error:
        reply = {"error": " ".join(str(error).split())}
    with suppress(OSError):  # the client is gone
        connection.sendall(json.dumps(reply).encode() + b"\n")
