"""The end of a connection: nothing of it is kept, and nobody is told of an error."""

import asyncio
import gc
import logging
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from labkit.results import Result
from labkit.runtime.injection.network import UNBROKEN
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.ports import Connection
from tests.support.counter import (
    ONE,
    SECRET,
    Add,
    Counter,
    Total,
    as_handler,
    offering,
    serving,
)

ROOT = Path(__file__).parents[3]
SECONDS = 30  # after which a call hangs, and the test fails


def test_lines_to_those_who_left_are_forgotten(tmp_path: Path) -> None:
    """Each instance that came and went had an endpoint of its own; the last ones alone are kept."""

    async def add(_: Add) -> Result[Total]:
        return Result[Total].ok(Total(amount=1))

    async def come_and_go() -> int:
        calls = Calls("tests", FolderRegistry(tmp_path), connect_with(SECRET), None, SECONDS)
        counter = calls.stub(Counter, "counter")
        for instance in range(1, 9):
            async with serving(tmp_path, add, instance):
                await counter.add(ONE)
            FolderRegistry(tmp_path).withdraw("counter", instance)
        await calls.close()
        return len(calls._connections)

    assert asyncio.run(come_and_go()) <= 3


def test_a_line_that_is_closed_is_let_go_at_once() -> None:
    """Its connection is not kept until garbage is collected: who looks often would run out."""

    async def add(_: Add) -> Result[Total]:
        return Result[Total].ok(Total(amount=1))

    async def come_and_go() -> "weakref.ref[Connection]":
        async with offering(as_handler(add)) as (_, endpoint):
            line = connect_with(SECRET, 1)(endpoint, "counter", lambda _: None, UNBROKEN)
            await line.ask("add", ONE.model_dump_json().encode(), time.monotonic() + SECONDS)
            await line.close()
            reference = weakref.ref(line)
            del line
            await asyncio.sleep(0.1)  # its tasks end
            return reference

    gc.disable()
    try:
        assert asyncio.run(come_and_go())() is None
    finally:
        gc.enable()


def serve_alone() -> None:
    """Serve in a process of its own until the input ends; the endpoint is printed."""

    async def add(_: Add) -> Result[Total]:
        return Result[Total].ok(Total(amount=1))

    async def serve() -> None:
        async with offering(as_handler(add)) as (_, endpoint):
            print(endpoint, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    asyncio.run(serve())


def test_who_leaves_as_soon_as_it_has_its_answer_leaves_no_error() -> None:
    """A stream is not ended while its first answer goes out, which gRPC logs as an error."""
    program = (
        "from tests.unit.runtime import test_connection_ends; test_connection_ends.serve_alone()"
    )

    async def ask_and_leave(endpoint: str) -> None:
        line = connect_with(SECRET, 1)(endpoint, "counter", lambda _: None, UNBROKEN)
        await line.ask("add", ONE.model_dump_json().encode(), time.monotonic() + SECONDS)
        await line.close()

    async def come_and_go(endpoint: str) -> None:
        for _ in range(40):
            await asyncio.gather(*(ask_and_leave(endpoint) for _ in range(20)))

    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **pipes) as server_process:
        assert server_process.stdout is not None
        asyncio.run(come_and_go(server_process.stdout.readline().strip()))
        logged, _ = server_process.communicate("")
    assert logged == ""
