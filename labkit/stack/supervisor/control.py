"""Commands to the supervisor: one JSON line there, one back, with the home's secret."""

import json
import socket
import time
from collections.abc import Callable

from labkit.home import Home
from labkit.stack.supervisor.holder import holder_of

_CONNECT_S = 10.0
_LOOK_S = 1.0
#: Time without an answer to any ping after which the supervisor counts as hanging.
_SILENCE_S = 60.0


class NotUp(Exception):
    """No lab is up in this home; the message says how to start one."""


def _ignore(_text: str) -> None:
    """Report to nobody."""


def tell(
    home: Home, command: str, on_progress: Callable[[str], None] = _ignore, /, **arguments: object
) -> None:
    """Send the supervisor a command and wait until it is done.

    That may take long: the wait lasts for as long as the supervisor answers pings.

    Args:
        home: the home of the supervisor.
        command: ping, reset, scale, hold or release.
        on_progress: called every second with what is being waited for.
        arguments: of the command.

    Raises:
        NotUp: no supervisor answers.
        RuntimeError: the command failed, and the message is the supervisor's; or the supervisor
            is stopped or hangs.
    """
    try:
        with _connect(home, command, arguments) as connection:
            answer = json.loads(_await_answer(home, connection, command, on_progress) or "{}")
    except (OSError, json.JSONDecodeError) as error:
        raise _not_up(home) from error
    if answer.get("error"):
        raise RuntimeError(answer["error"])
    if not answer.get("done"):
        raise NotUp(f"the lab in {home.folder} ended before it answered")


def _connect(home: Home, command: str, arguments: dict[str, object]) -> socket.socket:
    """Connect to the supervisor and send it a command.

    The secret goes to a living supervisor alone: at the port of one that is dead, another program
    may listen by now.
    """
    state, holder = home.state(), holder_of(home)
    if not holder or not holder.wrote(state):
        raise ConnectionRefusedError("no supervisor that lives has written the state")
    connection = socket.create_connection(("127.0.0.1", state.get("control") or 0), _CONNECT_S)
    line = {"secret": home.secret, "command": command, "arguments": arguments}
    connection.sendall(json.dumps(line).encode() + b"\n")
    return connection


def _await_answer(
    home: Home, connection: socket.socket, command: str, on_progress: Callable[[str], None]
) -> bytes:
    """Wait for the line that answers a command, while the supervisor is there."""
    line, began = b"", time.monotonic()
    last_ping = began
    connection.settimeout(_LOOK_S)
    while not line.endswith(b"\n"):
        try:
            part = connection.recv(4096)
        except TimeoutError:
            now = time.monotonic()
            last_ping = now if _answers_ping(home) else last_ping
            _refuse_if_stopped(home)
            if now - last_ping > _SILENCE_S:
                raise RuntimeError(
                    f"the supervisor of {home.folder} hangs: {_end_it(home)}"
                ) from None
            on_progress(f"{command}: the supervisor has worked for {now - began:.0f} s")
        else:
            if not part:
                break
            line += part
    return line


def _answers_ping(home: Home) -> bool:
    """Return True if the supervisor answers on a connection of its own."""
    try:
        with _connect(home, "ping", {}) as connection:
            connection.settimeout(_LOOK_S)
            return bool(connection.recv(4096))
    except OSError:
        return False


def _refuse_if_stopped(home: Home) -> None:
    holder = holder_of(home)
    if holder and holder.is_stopped:
        text = f"the supervisor of {home.folder} stands still: kill -CONT {holder.pid} wakes it"
        raise RuntimeError(f"{text}, and {_end_it(home)}")


def _end_it(home: Home) -> str:
    return f"labkit down {home.option} ends it"


def _not_up(home: Home) -> NotUp:
    if holder_of(home):
        return NotUp(f"the lab in {home.folder} comes up or goes down just now: ask again")
    return NotUp(f"no lab is up in {home.folder}: start one with: labkit up {home.option}")
