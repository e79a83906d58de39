"""A small contract and its real server, for the tests of calls."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from labkit.results import Message, Result
from labkit.runtime.calls import Calls
from labkit.runtime.failpoints import Failpoints
from labkit.runtime.registry import Instance, Registry
from labkit.runtime.server import Server

SECRET = "the secret of this home"


class Add(Message):
    """What is added."""

    order_id: int
    amount: int


class Total(Message):
    """What there is then."""

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
async def serving(folder: Path, add: Handle, instance: int = 1) -> AsyncIterator[str]:
    """A server of the contract, announced; its endpoint."""
    server = Server("counter", SECRET)
    server.add(Counter, {"add": lambda command, _expires: asyncio.ensure_future(add(command))})
    endpoint = await server.start()
    Registry(folder).announce(Instance("counter", instance, endpoint, os.getpid()))
    try:
        yield endpoint
    finally:
        await server.stop()


@asynccontextmanager
async def calling(
    folder: Path, *, secret: str = SECRET, timeout: float = 30, failpoints: Failpoints | None = None
) -> AsyncIterator[Counter]:
    """A stub of the contract."""
    calls = Calls("tests", Registry(folder), secret, failpoints, timeout)
    try:
        yield calls.stub(Counter, "counter")
    finally:
        await calls.close()
