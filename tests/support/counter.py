"""A small contract and its real server, for the tests of calls."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from labkit.results import Message, Result
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.ports import Handler
from labkit.runtime.rpc.server import StreamServer

SECRET = "the secret of this home"


class Add(Message):
    """The amount that is added."""

    order_id: int
    amount: int


class Total(Message):
    """The sum after it."""

    amount: int


class Counter(Protocol):
    """A contract of one method."""

    async def add(self, command: Add) -> Result[Total]:
        """Add an amount."""
        ...


Handle = Callable[[Add], Awaitable[Any]]
ONE = Add(order_id=2**62, amount=1)


class Counting:
    """A real handler: counts, and can be held up."""

    def __init__(self) -> None:
        self.total, self.begun = 0, asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def add(self, command: Add) -> Result[Total]:
        """Add, once it is free to."""
        self.begun.set()
        await self.free.wait()
        self.total += command.amount
        return Result[Total].ok(Total(amount=self.total))


@asynccontextmanager
async def offering(
    handle: Handler, address: Address = LOOPBACK
) -> AsyncIterator[tuple[StreamServer, str]]:
    """A server of the contract, and its endpoint, which nobody knows yet."""
    server = StreamServer("counter", SECRET, address)
    server.add(Counter, {"add": handle})
    endpoint = await server.start()
    try:
        yield server, endpoint
    finally:
        await server.stop()


def announce(folder: Path, endpoint: str, instance: int = 1) -> None:
    """Tell callers where an instance answers."""
    folder.mkdir(exist_ok=True)
    FolderRegistry(folder).announce(Instance("counter", instance, endpoint, os.getpid()))


@asynccontextmanager
async def serving(folder: Path, add: Handle, instance: int = 1) -> AsyncIterator[str]:
    """A server of the contract, announced; its endpoint."""
    async with offering(as_handler(add)) as (_, endpoint):
        announce(folder, endpoint, instance)
        yield endpoint


def as_handler(add: Handle) -> Handler:
    """A handler whose calls are tasks of their own."""
    return lambda command, _expires: asyncio.ensure_future(add(command))


@asynccontextmanager
async def calling(
    folder: Path,
    *,
    secret: str = SECRET,
    timeout: float = 30,
    failpoints: Failpoints | None = None,
    limit: int = 1000,
) -> AsyncIterator[Counter]:
    """A stub of the contract."""
    calls = Calls("tests", FolderRegistry(folder), connect_with(secret, limit), failpoints, timeout)
    try:
        yield calls.stub(Counter, "counter")
    finally:
        await calls.close()


async def one_call(folder: Path, add: Handle, **how: Any) -> Any:
    """Serve, call once, stop."""
    async with serving(folder, add), calling(folder, **how) as counter:
        return await counter.add(ONE)


async def _answer_until_told(folder: Path, instance: int) -> None:
    async def add(_command: Add) -> Result[Total]:
        return Result[Total].ok(Total(amount=instance))

    async with serving(folder, add, instance):
        print("serving", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":  # a process of its own, which answers with the number of its instance
    asyncio.run(_answer_until_told(Path(sys.argv[1]), int(sys.argv[2])))
