"""The supervisor's ear: it hears commands without ever waiting for who speaks.

Everybody on the machine can connect. Whoever does not know the home's secret is told nothing, and
however many of them there are, and however slowly they speak, they hold up nobody.
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
from typing import Any

from labkit.stack.supervisor import ports

_MAX_LINE = 64 * 1024
_LINE_SECONDS = 2.0
_MOST_SPEAKERS = 32

Commands = Mapping[str, Callable[..., None]]


class Speaker:
    """A connection on which a line is awaited.

    Args:
        connection: never blocks.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.line = b""
        self.until = time.monotonic() + _LINE_SECONDS

    def hear(self) -> bool:
        """Read what there is; return True if the line, or the connection, has ended."""
        try:
            while not self.line.endswith(b"\n") and len(self.line) < _MAX_LINE:
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
        at_once: commands that are done as soon as they are heard, whatever is being done.
        in_turn: commands that wait until `obey`, one after the other.
    """

    def __init__(
        self, selector: selectors.BaseSelector, secret: str, at_once: Commands, in_turn: Commands
    ) -> None:
        self._selector = selector
        self._secret = secret.encode()
        self._at_once = at_once
        self._in_turn = in_turn
        self._speakers: dict[int, Speaker] = {}
        self._waiting: deque[tuple[socket.socket, Callable[[], None]]] = deque()
        self._socket = ports.listen(0)
        self._socket.setblocking(False)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def obey(self) -> None:
        """Do the commands that wait for their turn."""
        while self._waiting:
            connection, command = self._waiting.popleft()
            with connection:
                _reply(connection, command)

    def drop_the_slow(self) -> None:
        """Hang up on everybody whose line has not come in time."""
        now = time.monotonic()
        for number in [one for one, speaker in self._speakers.items() if speaker.until < now]:
            self._forget(number).close()

    def _accept(self) -> None:
        """Hear whoever has connected. Of too many who say nothing, hang up on the first."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:  # it went away again
            return
        speaker = Speaker(connection)
        self._speakers[connection.fileno()] = speaker
        again = partial(self._hear, connection.fileno())
        self._selector.register(connection, selectors.EVENT_READ, again)
        self._hear(connection.fileno())
        if len(self._speakers) > _MOST_SPEAKERS:
            self._forget(next(iter(self._speakers))).close()

    def _hear(self, number: int) -> None:
        speaker = self._speakers.get(number)
        if speaker and speaker.hear():
            self._obey_or_keep(self._forget(number), speaker.line)

    def _obey_or_keep(self, connection: socket.socket, line: bytes) -> None:
        try:
            name, arguments = self._read(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            connection.close()  # no word to who does not know how to ask
            return
        if name in self._in_turn:
            self._waiting.append((connection, partial(self._in_turn[name], **arguments)))
            return
        with connection:
            _reply(connection, partial(self._at_once[name], **arguments))

    def _read(self, line: bytes) -> tuple[str, dict[str, Any]]:
        """The command of a line, and its arguments.

        Raises:
            ValueError: it is no command, or without the secret.
            KeyError: there is no such command.
        """
        asked = json.loads(line)
        told = str(asked.get("secret", "")).encode(errors="replace")
        if not hmac.compare_digest(told, self._secret):
            raise ValueError("a stranger")
        name, arguments = asked["command"], dict(asked["arguments"])
        if name not in {**self._at_once, **self._in_turn}:
            raise KeyError(name)
        return name, arguments

    def _forget(self, number: int) -> socket.socket:
        connection = self._speakers.pop(number).connection
        self._selector.unregister(connection)
        return connection


def _reply(connection: socket.socket, command: Callable[[], None]) -> None:
    """Do a command. An error is its answer: the asker hears what went wrong; the lab goes on."""
    try:
        command()
        reply: dict[str, Any] = {"done": True}
    except Exception as error:
        reply = {"error": " ".join(str(error).split())}
    with suppress(OSError):  # who asked is gone
        connection.sendall(json.dumps(reply).encode() + b"\n")
