"""The attacks of another user of this machine: `python -m tests.support.intruder`."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.runtime.errors import Unknown
from labkit.runtime.registry.ports import Instance
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.shop.contracts import GoodsService
from labkit.shop.messages import DeductStock
from labkit.stack.supervisor import ports


class Known:
    """A registry of what a stranger finds by looking for open ports."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def instances(self, service: str, _fresh: float = 0) -> list[Instance]:
        return [Instance(service, 1, self._endpoint, 0)]


def _command_supervisor(port: int) -> str:
    """Send a command with a guessed secret to the supervisor's port, and return the answer."""
    line = {"secret": "guessed", "command": "reset", "arguments": {}}
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(json.dumps(line).encode() + b"\n")
        return connection.recv(4096).decode()


async def _take_stock(endpoint: str) -> str:
    calls = Calls("stranger", Known(endpoint), connect_with("guessed"), None, timeout=5.0)  # type: ignore[arg-type]
    try:
        command = DeductStock(order_id=1, goods_id=1, goods_number=1)
        return str(await calls.stub(GoodsService, "goods").deduct_stock(command))
    except Unknown as unknown:
        return str(unknown)
    finally:
        await calls.close()


def _told(act: Callable[[], Any]) -> str:
    try:
        return str(act())
    except Exception as error:  # what it is, is what we want to know
        return type(error).__name__


def main() -> None:
    """Try everything on one lab, and print what came of it."""
    lab = json.loads(sys.argv[1])
    folder = Path(lab["home"])
    report = {
        "list": _told(lambda: list(folder.iterdir())),
        "secret": _told((folder / "secret").read_text),
        "order": _told((folder / "databases" / "order.sqlite").read_bytes),
        "kill": _told(lambda: os.kill(lab["pid"], signal.SIGCONT)),
        "down": _told(lambda: _command_supervisor(lab["control"])),
        "call": asyncio.run(_take_stock(lab["goods"])),
        "web": str(ports.answers(lab["web"])),
        "broker": str(ports.answers(lab["broker"])),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
