"""A client who sends no whole head of a request is let go, and keeps nobody out."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop

from labkit import http_limits

SECONDS = 60  # after which a test fails
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer everybody 200."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve as every web of a lab does; the port."""
    config = uvicorn.Config(app, port=0, **http_limits.options())
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def status(port: int, *parts: bytes) -> bytes:
    """Send these parts one after the other; the status line of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        pass  # it was let go before it was done
    try:
        return (await reader.readline()).strip()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        await asyncio.wait_for(main, SECONDS)

    uvloop.run(in_time())


@pytest.mark.parametrize("begun", [b"", GET, GET + b"X-A: b\r\n"])
def test_a_head_that_does_not_end_is_let_go(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it has come: 408, and the connection is closed."""
    monkeypatch.setattr(http_limits, "_HEAD_S", 0.2)

    async def main() -> None:
        async with serving() as port:
            assert (await status(port, begun)).startswith(b"HTTP/1.1 408")

    run(main())


def test_the_second_request_of_a_connection_has_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One is answered, the next is begun and not ended."""
    monkeypatch.setattr(http_limits, "_HEAD_S", 0.2)

    async def main() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"\r\n\r\nok")
            writer.write(GET)
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()

    run(main())


LONG = b"X-A: " + b"a" * 1_000_000 + b"\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [GET, *[LONG] * 50],
        [GET, *[b"X-%d: b\r\n" % number for number in range(20_000)]],
        [GET + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n"],
        [b"GET /" + b"a" * 100_000],
    ],
    ids=["one line", "many lines", "a whole one", "a path"],
)
def test_a_head_without_end_is_cut(parts: list[bytes]) -> None:
    """431, or the connection is gone before that could be read; nothing is kept of it."""

    async def main() -> None:
        async with serving() as port:
            assert (await status(port, *parts))[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"")
            assert (await status(port, GET, b"\r\n")).startswith(b"HTTP/1.1 200")

    run(main())


def test_a_long_body_is_no_long_head() -> None:
    """A body that comes in one piece with the end of the head does not count as the head."""

    async def main() -> None:
        async with serving() as port:
            body = b"a" * 100_000
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            assert (await status(port, head + body)).startswith(b"HTTP/1.1 200")

    run(main())


def test_many_who_send_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are as many connections as may be, the oldest without a request makes room."""
    monkeypatch.setattr(http_limits, "max_connections", lambda: 10)

    async def main() -> None:
        async with serving() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            for _, writer in held:
                writer.write(GET)
            assert (await status(port, GET, b"\r\n")).startswith(b"HTTP/1.1 200")
            reader, _ = held[0]
            assert (await reader.readline()).startswith(b"HTTP/1.1 503")
            for _, writer in held:
                writer.close()

    run(main())
