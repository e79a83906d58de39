"""Calls and answers that are large: many of them fit no gRPC message, and none breaks the line."""

import asyncio
from pathlib import Path
from typing import Any, Protocol

import pytest

from labkit.results import Message, Result
from labkit.runtime.errors import Unknown
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.rpc import protocol
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.server import StreamServer
from tests.support.counter import SECRET, announce

SECONDS = 60
LONG = 60_000  # characters: a hundred of them pass gRPC's 4 MB


class Text(Message):
    """A text to be sent back so many times over."""

    text: str
    times: int = 1


class Repeated(Message):
    """The text that came back."""

    text: str


class Echo(Protocol):
    """A contract whose messages have any length."""

    async def repeat(self, command: Text) -> Result[Repeated]:
        """Send a text back."""
        ...


async def _repeat(command: Text, texts: list[str]) -> Result[Repeated]:
    texts.append(command.text)
    return Result[Repeated].ok(Repeated(text=command.text * command.times))


async def ask_all(folder: Path, *commands: Text) -> list[Any]:
    """Ask for all of these at once; the texts that came back, or why there is none."""
    server = StreamServer("counter", SECRET)
    texts: list[str] = []
    repeat = lambda command, _: asyncio.ensure_future(_repeat(command, texts))  # noqa: E731  # notes
    server.add(Echo, {"repeat": repeat})
    announce(folder, await server.start())
    calls = Calls("tests", FolderRegistry(folder), connect_with(SECRET), None, SECONDS)
    echo = calls.stub(Echo, "counter")
    try:
        answers = await asyncio.gather(
            *(echo.repeat(command) for command in commands), return_exceptions=True
        )
    finally:
        await calls.close()
        await server.stop()
    assert len(texts) == len(set(texts)), "a line broke, and calls were asked again"
    return [answer if isinstance(answer, BaseException) else answer.data.text for answer in answers]


def test_a_hundred_large_calls_and_their_answers_come_through(tmp_path: Path) -> None:
    """6 MB at once either way, and a small call among them: each has its answer on the first line,
    for nothing was asked again."""
    texts = [str(number).ljust(LONG, "x") for number in range(110)] + ["small"]
    assert asyncio.run(ask_all(tmp_path, *(Text(text=text) for text in texts))) == texts


@pytest.mark.parametrize(
    "too_long",
    [Text(text="x" * (protocol.MAX_BODY_BYTES + 1)), Text(text="x" * LONG, times=100)],
    ids=["the call", "the answer"],
)
def test_what_is_too_long_is_refused_to_its_caller_alone(tmp_path: Path, too_long: Text) -> None:
    """The caller hears how long it was and may be; who asked beside it is answered."""
    refused, small = asyncio.run(ask_all(tmp_path, too_long, Text(text="small")))
    assert small == "small"
    assert isinstance(refused, Unknown)
    assert str(protocol.MAX_BODY_BYTES) in str(refused)


def test_a_message_is_bounded_in_bytes() -> None:
    """However long what waits is: no message is longer than gRPC takes, and nothing is left out."""
    sizes = [protocol.MAX_BODY_BYTES, 1, *([700_000] * 9), *([10] * 250), protocol.MAX_BODY_BYTES]
    calls = [
        protocol.Call(number, "take", 1000, "", b"x" * size) for number, size in enumerate(sizes)
    ]
    waiting, sent = protocol.deque(calls), []
    while waiting:
        batch = protocol.take_batch(waiting)
        assert len(protocol.pack(batch)) < protocol.MAX_MESSAGE_BYTES
        sent += batch
    assert sent == calls
