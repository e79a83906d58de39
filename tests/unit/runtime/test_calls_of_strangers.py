"""Calls of who does not belong to the home, over a real socket: refused, and nothing is done."""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import pytest

from labkit.runtime.errors import Unknown
from labkit.runtime.rpc import caller as rpc_caller
from tests.support.counter import ONE, SECRET, Counting, one_call, serving

BODY = ONE.model_dump_json().encode()
SECONDS = 30


def message(*fields: Any) -> bytes:
    """A message as it travels: its length, and its fields."""
    packed: bytes = msgpack.packb(fields)
    return len(packed).to_bytes(4, "big") + packed


def hello(version: Any = 1, service: Any = "counter", secret: str = SECRET) -> bytes:
    return message(version, service, secret)


CALL = message([1, "add", 30_000, "", BODY])
DEEP = b"\x91" * 900 + b"\x90"


async def with_a_server(folder: Path, talk: Callable[[str], Any]) -> tuple[Any, int]:
    """What a client that is not ours hears, and how much was counted."""
    counting = Counting()
    async with serving(folder, counting.add) as endpoint:
        heard = await asyncio.to_thread(talk, endpoint)
    return heard, counting.total


def messages_in(data: bytes) -> list[Any]:
    """Take messages apart, without what we test."""
    messages = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        messages.append(msgpack.unpackb(data[4:end]))
        data = data[end:]
    return messages


def say(*words: bytes) -> Callable[[str], list[Any]]:
    """A client that says these, and hears messages until the other side hangs up."""

    def talk(endpoint: str) -> list[Any]:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            for word in words:
                connection.sendall(word)
            data = b""
            while part := connection.recv(4096):
                data += part
        return messages_in(data)

    return talk


@pytest.mark.parametrize("secret", ["", "another home's", "Geheimnis-öäü"])
def test_a_call_without_the_secret_is_refused(tmp_path: Path, secret: str) -> None:
    """A caller that does not know the home's secret gets no answer, and nothing is done."""

    async def main() -> int:
        counting = Counting()
        with pytest.raises(Unknown, match="this lab's secret is missing"):
            await one_call(tmp_path, counting.add, secret=secret)
        return counting.total

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize(
    ("words", "outcome", "cause"),
    [
        (hello(secret="guessed") + CALL, 4, "secret"),
        (CALL, 4, "not a message"),
        (hello(version=9) + CALL, 3, "protocol 1"),
        (hello(version=float("inf")), 4, "not a message"),
        (hello(service="goods") + CALL, 3, "goods by protocol 1 was asked for"),
        (hello(service="x" * 2000), 4, "a message may have 1024 bytes"),
        (len(DEEP).to_bytes(4, "big") + DEEP, 4, "not a message"),
        (b"GET / HTTP/1.1\r\n\r\n", 4, "not a message"),
        (b"\x00\x00\x00\x01\xc1", 4, "not a message"),
        (b"\x00\x3f\xff\xff", 4, "a message may have 1024 bytes"),
        (hello() + message(17), 4, "not a message"),
        (hello() + message([1, "add"]), 4, "not a message"),
        (hello() + message([1, ["add"], None, "", BODY]), 4, "not a message"),
        (hello() + b"\x7f\xff\xff\xff", 4, "a message may have 4194304 bytes"),
    ],
    ids=lambda value: None if isinstance(value, int | str) else repr(value[:24]),
)
def test_a_foreign_client_is_refused(
    tmp_path: Path, words: bytes, outcome: int, cause: str
) -> None:
    """Whoever says something else is told why, and is hung up on; nothing is done.

    No message is waited for that would be longer than it may be: of a stranger 1 KiB is kept.
    """
    heard, total = asyncio.run(with_a_server(tmp_path, say(words)))
    [[number, end, why]] = heard[-1]
    assert heard[:-1] in ([], [[]])
    assert (number, end, cause in why.decode(), total) == (0, outcome, True, 0), why


def test_strangers_do_not_use_up_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many who connect and say nothing, who came first must go; who calls is served."""
    monkeypatch.setattr(rpc_caller, "_MAX_STRANGERS", 3)

    def crowd(endpoint: str) -> tuple[int, Any]:
        host, _, port = endpoint.rpartition(":")
        with ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection((host, int(port)), SECONDS))
                for _ in range(10)
            ]
            heard = half_closed(endpoint)
            gone = sum(is_closed(connection) for connection in silent[:6])
        return gone, heard

    (gone, heard), total = asyncio.run(with_a_server(tmp_path, crowd))
    assert (gone, total, heard[-1][0][:2]) == (6, 1, [1, 0])


def half_closed(endpoint: str) -> list[Any]:
    """Call, end the side of the caller, and hear all."""
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(hello() + CALL)
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while part := connection.recv(4096):
            data += part
    return messages_in(data)


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side hangs up."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_ends_its_side_is_answered(tmp_path: Path) -> None:
    """As a small client does that sends its calls and reads to the end."""
    heard, total = asyncio.run(with_a_server(tmp_path, half_closed))
    assert heard[0] == []
    assert (heard[1][0][:2], total) == ([1, 0], 1)


def test_garbage_after_a_call_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is refused, and nobody writes to a connection that has ended."""
    heard, total = asyncio.run(with_a_server(tmp_path, say(hello() + CALL + message(17))))
    assert (heard[-1][0][:2], total) == ([0, 4], 1)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_who_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection costs a descriptor: nobody keeps one who does not say who they are."""
    monkeypatch.setattr(rpc_caller, "_HELLO_S", 0.05)

    def wait(endpoint: str) -> bool:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            return is_closed(connection)

    assert asyncio.run(with_a_server(tmp_path, wait)) == (True, 0)


def test_any_language_can_call(tmp_path: Path) -> None:
    """A client of sockets, msgpack and JSON alone, as the reference describes it, is answered."""

    def call(endpoint: str) -> Any:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            stream = connection.makefile("rwb", buffering=0)
            stream.write(hello() + CALL)
            heard: list[Any] = []
            for _ in range(2):  # the welcome, and the answer
                length = int.from_bytes(stream.read(4) or b"", "big")
                heard.append(msgpack.unpackb(stream.read(length) or b""))
            [welcome, [[number, outcome, body]]] = heard
        return welcome, number, outcome, json.loads(body)["data"]

    heard = asyncio.run(with_a_server(tmp_path, call))
    assert heard == (([], 1, 0, {"amount": 1}), 1)
