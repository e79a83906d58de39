"""Telling the supervisor what to do: one JSON line there, one back, with the home's secret."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from labkit.home import Home
from labkit.stack.supervisor.holder import holder_of

_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_SILENT_SECONDS = 60.0  # without an answer to any ping, after which it hangs


class NotUp(Exception):
    """No lab is up in this home; the message says how to start one."""


def _quiet(_text: str) -> None:
    """Tell nobody."""


def tell(
    home: Home, command: str, progress: Callable[[str], None] = _quiet, /, **arguments: Any
) -> None:
    """Have the supervisor do something, and wait until it is done.

    That may take long: it is waited for as long as the supervisor answers that it is there.

    Args:
        home: whose supervisor.
        command: ping, reset, scale, hold or release.
        progress: called every second with what is being waited for.
        arguments: of the command.

    Raises:
        NotUp: no supervisor answers.
        RuntimeError: it could not be done, and the message is the supervisor's; or the supervisor
            stands still or hangs.
    """
    try:
        with _connect(home, command, arguments) as connection:
            answer = json.loads(_await_answer(home, connection, command, progress) or "{}")
    except (OSError, json.JSONDecodeError) as error:
        raise _not_up(home) from error
    if answer.get("error"):
        raise RuntimeError(answer["error"])
    if not answer.get("done"):
        raise NotUp(f"the lab in {home.folder} ended before it answered")


def _connect(home: Home, command: str, arguments: dict[str, Any]) -> socket.socket:
    address = ("127.0.0.1", home.state().get("control") or 0)
    connection = socket.create_connection(address, _CONNECT_SECONDS)
    line = {"secret": home.secret, "command": command, "arguments": arguments}
    connection.sendall(json.dumps(line).encode() + b"\n")
    return connection


def _await_answer(
    home: Home, connection: socket.socket, command: str, progress: Callable[[str], None]
) -> bytes:
    """Wait for the line that answers a command, while the supervisor is there."""
    line, began = b"", time.monotonic()
    heard = began
    connection.settimeout(_LOOK_SECONDS)
    while not line.endswith(b"\n"):
        try:
            part = connection.recv(4096)
        except TimeoutError:
            now = time.monotonic()
            heard = now if _answers_ping(home) else heard
            _refuse_if_stopped(home)
            if now - heard > _SILENT_SECONDS:
                raise RuntimeError(
                    f"the supervisor of {home.folder} hangs: {_end_it(home)}"
                ) from None
            progress(f"{command}: the supervisor has worked for {now - began:.0f} s")
        else:
            if not part:
                break
            line += part
    return line


def _answers_ping(home: Home) -> bool:
    """Ask the supervisor on a connection of its own whether it is there."""
    try:
        with _connect(home, "ping", {}) as connection:
            connection.settimeout(_LOOK_SECONDS)
            return bool(connection.recv(4096))
    except OSError:
        return False


def _refuse_if_stopped(home: Home) -> None:
    holder = holder_of(home)
    if holder and holder.stands_still:
        text = f"the supervisor of {home.folder} stands still: kill -CONT {holder.pid} wakes it"
        raise RuntimeError(f"{text}, and {_end_it(home)}")


def _end_it(home: Home) -> str:
    return f"labkit down --home {home.folder} ends it"


def _not_up(home: Home) -> NotUp:
    if holder_of(home):
        return NotUp(f"the lab in {home.folder} comes up or goes down just now: ask again")
    return NotUp(f"no lab is up in {home.folder}: start one with: labkit up --home {home.folder}")
