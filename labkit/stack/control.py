"""Telling the supervisor what to do: one JSON line there, one back, with the home's secret."""

import hmac
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from labkit.home import Home

_MAX_LINE = 64 * 1024
_DONE_SECONDS = 60
_LINE_SECONDS = 2.0


class NotUp(Exception):
    """No lab is up in this home; the message says how to start one."""


def tell(home: Home, command: str, **arguments: Any) -> None:
    """Have the supervisor do something, and wait until it is done.

    Args:
        home: whose supervisor.
        command: ping, down, reset, scale, hold or release.
        arguments: of the command.

    Raises:
        NotUp: no supervisor answers.
        RuntimeError: it could not be done; the message is the supervisor's.
    """
    port = home.state().get("control")
    try:
        with socket.create_connection(("127.0.0.1", port or 0), _DONE_SECONDS) as connection:
            line = {"secret": home.secret, "command": command, "arguments": arguments}
            connection.sendall(json.dumps(line).encode() + b"\n")
            answer = json.loads(connection.makefile().readline() or "{}")
    except (OSError, ValueError) as error:
        text = f"no lab is up in {home.folder}: start one with: labkit up --home {home.folder}"
        raise NotUp(text) from error
    if answer.get("error"):
        raise RuntimeError(answer["error"])
    if not answer.get("done"):
        raise NotUp(f"the lab in {home.folder} ended before it answered")


def answer(
    connection: socket.socket, secret: str, commands: Mapping[str, Callable[..., None]]
) -> None:
    """Do what one connection asks for, if it knows the secret. An error is its answer.

    Everybody on the machine can connect: whatever a stranger sends, however slowly, the lab goes
    on after two seconds.
    """
    try:
        asked = json.loads(_line(connection))
        told = str(asked.get("secret", "")).encode(errors="replace")
        if not hmac.compare_digest(told, secret.encode()):
            return
        try:
            commands[asked["command"]](**asked["arguments"])
            reply: dict[str, Any] = {"done": True}
        except Exception as error:  # the asker hears what went wrong; the lab goes on
            reply = {"error": " ".join(str(error).split())}
        connection.settimeout(2)
        connection.sendall(json.dumps(reply).encode() + b"\n")
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        return


def _line(connection: socket.socket) -> bytes:
    """One line, which has all in all so much time.

    Raises:
        OSError: it did not come in time.
    """
    deadline = time.monotonic() + _LINE_SECONDS
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(4096)
        if not part:
            break
        line += part
    return line
