"""A connection whose other side stands still, says nonsense, or stops while much is under way."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import psutil
import pytest

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import UNBROKEN
from labkit.runtime.rpc.address import Address
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.rpc.ports import Broken, Connection
from labkit.runtime.rpc.protocol import MAX_BODY_BYTES
from tests.support.counter import ONE, SECRET, Add, Total, as_handler, offering

BODY = ONE.model_dump_json().encode()
SECONDS = 60.0  # after which a call hangs, and the test fails


def open_to(endpoint: str) -> Connection:
    return connect_with(SECRET)(endpoint, "counter", lambda _: None, UNBROKEN)


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


async def outcome_of(answer: "asyncio.Future[bytes]") -> str:
    """What came of a call, in a word."""
    try:
        return (await asyncio.wait_for(answer, SECONDS)).decode()
    except (Broken, Unknown) as error:
        return type(error).__name__


def test_who_stood_still_finds_no_dead_calls_when_it_goes_on() -> None:
    """The system accepts connections for it: each says who calls, and waits with its calls."""

    async def give_up(endpoint: str) -> list[str]:
        outcomes = []
        for _ in range(3):  # each on a connection of its own, until it is given up
            connection = open_to(endpoint)
            outcomes.append(await outcome_of(connection.ask("add", BODY, in_seconds(SECONDS))))
            await connection.close()
        return outcomes

    with socket.create_server(("127.0.0.1", 0)) as still:
        outcomes = asyncio.run(give_up("{}:{}".format(*still.getsockname())))
        heard = []
        for _ in outcomes:
            connection, _address = still.accept()
            with connection:
                heard.append(connection.recv(1 << 16))
                assert connection.recv(1 << 16) == b""
    assert outcomes == ["Broken"] * 3
    assert all(data and b"add" not in data for data in heard), heard


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """A service that says the same to everything, after a welcome."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(framed([]))
        await reader.read(4096)
        writer.write(answer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


def framed(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message)
    return len(packed).to_bytes(4, "big") + packed


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (framed([[1, 1, "text"]]), "Broken"),
        (framed([[1, 0, None]]), "Broken"),
        (framed([[1, 1, b"\xff"]]), "Unknown"),
        (framed([[1, 9, b"\xff"]]), "Unknown"),
        (framed([["one", 0, b""]]), "Broken"),
        (framed(17), "Broken"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Broken"),
        (b"\x7f\xff\xff\xff", "Broken"),
        (b"\x00\x00\x00\x01\xc1", "Broken"),
    ],
    ids=repr,
)
def test_an_answer_that_is_none_ends_the_call(answer: bytes, outcome: str) -> None:
    """At once, whatever it is: nobody waits for what nothing will settle."""

    async def main() -> str:
        async with saying(answer) as endpoint:
            connection = open_to(endpoint)
            try:
                return await outcome_of(connection.ask("add", BODY, in_seconds(10 * SECONDS)))
            finally:
                await connection.close()

    assert asyncio.run(main()) == outcome


def test_a_connection_that_is_closed_keeps_no_socket() -> None:
    """Though the other side has not read what was sent: nobody wants it any more."""

    async def main() -> int:
        with socket.create_server(("127.0.0.1", 0)) as still:
            port = still.getsockname()[1]
            connection = open_to(f"127.0.0.1:{port}")
            large = [
                connection.ask("add", b"x" * MAX_BODY_BYTES, in_seconds(SECONDS)) for _ in range(8)
            ]
            accepted, _ = await asyncio.to_thread(still.accept)
            accepted.sendall(framed([]))  # it serves, and stands still from then on
            for answer in large:
                assert await outcome_of(answer) == "Broken"
            await asyncio.sleep(0)
            ours = [
                each
                for each in psutil.Process().net_connections("tcp")
                if each.raddr and each.raddr.port == port
            ]
            accepted.close()
            return len(ours)

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize(("number", "size"), [(10, 1_000_000), (2000, 3_000)])
def test_who_stops_sends_every_answer_that_is_ready(number: int, size: int) -> None:
    """However much waits to be sent when it begins to stop."""
    free = asyncio.Event()

    async def add(_command: Add) -> Result[Total]:
        await free.wait()
        return Result[Total].ok(Total(amount=1), message="x" * size)

    async def main() -> list[str]:
        async with offering(as_handler(add)) as (server, endpoint):
            connection = connect_with(SECRET, number)(endpoint, "counter", lambda _: None, UNBROKEN)
            answers = [connection.ask("add", BODY, in_seconds(SECONDS)) for _ in range(number)]
            while len(server._dispatcher._under_way) < number:
                await asyncio.sleep(0.01)
            free.set()
            stopping = asyncio.ensure_future(server.stop())
            outcomes = [await outcome_of(answer) for answer in answers]
            await stopping
            await connection.close()
        return outcomes

    assert [len(outcome) > size for outcome in asyncio.run(main())] == [True] * number


def test_it_listens_at_an_address_of_version_6() -> None:
    """As `labkit serve --listen [::1]:7000` asks for."""
    if not socket.has_ipv6 or not _has_loopback_6():
        pytest.skip("this machine has no loopback of version 6")

    async def main() -> str:
        address = Address("[::1]:0")
        async with offering(as_handler(_one), address) as (_, endpoint):
            assert endpoint.startswith("[::1]:")
            connection = open_to(endpoint)
            answer = await outcome_of(connection.ask("add", BODY, in_seconds(SECONDS)))
            await connection.close()
        return answer

    assert '"amount":1' in asyncio.run(main())


async def _one(_command: Add) -> Result[Total]:
    return Result[Total].ok(Total(amount=1))


def _has_loopback_6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
