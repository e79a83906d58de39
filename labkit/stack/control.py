"""Telling the supervisor what to do: one JSON line there, one back, with the home's secret."""

import json
import socket
from typing import Any

from labkit.home import Home

_DONE_SECONDS = 60


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
