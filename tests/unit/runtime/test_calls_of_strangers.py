"""Calls of who does not belong to the home, over a real socket: refused, and nothing is done."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from labkit.runtime.errors import Unknown
from labkit.runtime.rpc import server as rpc_server
from tests.support.counter import ONE, SECRET, Counting, one_call, serving

BODY = ONE.model_dump_json().encode()
CALL = msgpack.packb([[1, "add", 30_000, "", BODY]])
SECONDS = 30


def hello(version: int = 1, service: str = "counter", secret: str = SECRET) -> bytes:
    packed: bytes = msgpack.packb([version, service, secret])
    return packed


async def with_a_server(folder: Path, talk: Callable[[str], Any]) -> tuple[Any, int]:
    """What a client that is not ours hears, and how much was counted."""
    counting = Counting()
    async with serving(folder, counting.add) as endpoint:
        heard = await asyncio.to_thread(talk, endpoint)
    return heard, counting.total


def say(*words: bytes) -> Callable[[str], list[Any]]:
    """A client that says these, and hears messages until the other side hangs up."""

    def talk(endpoint: str) -> list[Any]:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            for word in words:
                connection.sendall(word)
            unpacker = msgpack.Unpacker()
            while data := connection.recv(4096):
                unpacker.feed(data)
        return list(unpacker)

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
        ((hello(secret="guessed"), CALL), 4, "secret"),
        ((CALL,), 4, "not a message"),
        ((hello(version=9), CALL), 3, "protocol 1"),
        ((hello(service="goods"), CALL), 3, "goods by protocol 1 was asked for"),
        ((b"GET / HTTP/1.1\r\n\r\n",), 4, "not a message"),
        ((b"\xc1",), 4, "not a message"),
        ((hello(), msgpack.packb(17)), 4, "not a message"),
        ((hello(), msgpack.packb([[1, "add"]])), 4, "not a message"),
        ((hello(), b"\xdd\xff\xff\xff\xff"), 4, "not a message"),
    ],
    ids=lambda value: None if isinstance(value, int | str) else repr(value[-1][:12]),
)
def test_a_foreign_client_is_refused(
    tmp_path: Path, words: tuple[bytes, ...], outcome: int, cause: str
) -> None:
    """Whoever says something else is told why, and is hung up on; nothing is done."""
    heard, total = asyncio.run(with_a_server(tmp_path, say(*words)))
    [[[number, end, why]]] = heard
    assert (number, end, cause in why.decode(), total) == (0, outcome, True, 0), why


def test_who_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection costs a descriptor: nobody keeps one who does not say who they are."""
    monkeypatch.setattr(rpc_server, "_HELLO_S", 0.05)

    def wait(endpoint: str) -> bytes:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            try:
                return connection.recv(1)
            except ConnectionResetError:
                return b""

    assert asyncio.run(with_a_server(tmp_path, wait)) == (b"", 0)


def test_any_language_can_call(tmp_path: Path) -> None:
    """A client of sockets, msgpack and JSON alone, as the reference describes it, is answered."""

    def call(endpoint: str) -> Any:
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            connection.sendall(hello() + CALL)
            unpacker = msgpack.Unpacker(connection.makefile("rb", buffering=0))
            [[number, outcome, body]] = unpacker.unpack()
        return number, outcome, json.loads(body)["data"]

    heard = asyncio.run(with_a_server(tmp_path, call))
    assert heard == ((1, 0, {"amount": 1}), 1)
