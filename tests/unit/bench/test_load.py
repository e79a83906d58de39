"""The load generator: every request ends as an answer, and none that went wrong is hidden."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench import load
from bench.load import Answer, drive, order_request, outcome, percentile, summary
from bench.replay import histogram
from bench.sample import sample

Writer = asyncio.StreamWriter
Serve = Callable[[int, Writer], Awaitable[None]]  # the number of the request, where to answer


def answer(status: int, body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def refusal(name: str) -> bytes:
    return json.dumps(
        {"success": False, "code": 2, "name": name, "message": "", "data": None}
    ).encode()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A web server that does with each request what a test wants; its URL."""
    served = 0

    async def talk(reader: asyncio.StreamReader, writer: Writer) -> None:
        nonlocal served
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(
                    int(head.lower().partition(b"content-length:")[2].split()[0])
                )
                served += 1
                await serve(served, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1")
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def put(requests: int, clients: int, serve: Serve, rate: float | None = None) -> list[Answer]:
    """Put so many requests to a server."""

    async def run() -> list[Answer]:
        answers: list[Answer] = []
        async with server(serve) as url:
            sent = [order_request(sample(1))] * requests
            await drive(url, sent, clients, answers.append, rate=rate)
        return answers

    return asyncio.run(run())


def test_every_failure_is_counted_under_its_name() -> None:
    """Refusals, errors that are no Result, half answers and nonsense: none is lost or placed."""

    async def serve(number: int, writer: Writer) -> None:
        kinds = [
            answer(200),
            answer(422, refusal("STOCK_SHORT")),
            answer(503, b"<html>"),
            answer(200, b"whole")[:-2],
            b"nonsense\r\n\r\n",
            b"",
        ]
        writer.write(kinds[number % 6])
        if number % 6 > 2:
            writer.close()

    answers = put(60, 4, serve)
    figures = summary(answers, 10)
    assert figures["outcomes"] == {
        "200": 10,
        "422 STOCK_SHORT": 10,
        "503 (no Result)": 10,
        "ConnectionResetError": 20,
        "ConnectionError": 10,
    }
    assert (figures["sent"], figures["placed"], figures["orders_per_s"]) == (60, 10, 1.0)
    assert sorted(reply.number for reply in answers) == list(range(1, 61))


def test_silence_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without an answer ends in its time, as what it is, and the client goes on."""
    monkeypatch.setattr(load, "_PATIENCE_SECONDS", 0.1)

    async def serve(number: int, writer: Writer) -> None:
        if number != 2:
            writer.write(answer(200))

    answers = put(4, 1, serve)
    assert [outcome(reply) for reply in answers] == ["200", "TimeoutError", "200", "200"]


def test_nobody_there_is_a_failure() -> None:
    """Each request that finds nobody listening is counted."""

    async def run() -> list[Answer]:
        async with server(lambda *_: asyncio.sleep(0)) as url:
            pass
        answers: list[Answer] = []
        await drive(url, [b"anything"] * 6, 3, answers.append)
        return answers

    assert Counter(map(outcome, asyncio.run(run()))) == {"ConnectionRefusedError": 6}


def test_a_server_that_hangs_up_between_two_requests_loses_none() -> None:
    """An idle connection that the server closed is opened anew, and no request failed."""

    async def serve(_number: int, writer: Writer) -> None:
        writer.write(answer(200))
        writer.close()

    assert Counter(map(outcome, put(5, 1, serve, rate=20))) == {"200": 5}


def test_clients_send_only_after_their_answer() -> None:
    """So many clients, so many requests at once, never more."""
    now, most = 0, 0

    async def serve(_number: int, writer: Writer) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.005)
        now -= 1
        writer.write(answer(200))

    assert len(put(40, 5, serve)) == 40
    assert most == 5


def test_a_slow_moment_counts_for_all_that_had_to_wait() -> None:
    """At a rate, latency is from when a request should have been sent (coordinated omission)."""

    async def serve(number: int, writer: Writer) -> None:
        if number == 1:
            await asyncio.sleep(0.4)
        writer.write(answer(200))

    answers = put(30, 1, serve, rate=100)
    waited = [reply for reply in answers if reply.seconds > 0.1]
    assert len(waited) >= 25, "one slow answer held up all that were due meanwhile"


def test_a_rate_is_kept() -> None:
    """No request goes out before its time, however quick the answers."""

    async def serve(_number: int, writer: Writer) -> None:
        writer.write(answer(200))

    answers = put(20, 8, serve, rate=100)
    assert all(reply.at >= (reply.number - 1) / 100 for reply in answers)
    assert all(reply.seconds >= 0 for reply in answers)


def test_percentiles_are_of_the_numbers_themselves() -> None:
    """Nearest rank, as the textbooks have it; of nothing there is none."""
    assert [percentile(range(1, 101), each) for each in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7], 50) == 7
    assert percentile([], 99) is None


def test_the_histogram_holds_every_answer() -> None:
    """Each latency is in the line between whose edges it lies."""
    lines = [line.split() for line in histogram([0.5, 1, 3, 3.9, 4, 1000])]
    assert [(line[0], line[2], line[-1]) for line in lines if line[-1] != "0"] == [
        ("0", "1", "1"),
        ("1", "2", "1"),
        ("2", "4", "2"),
        ("4", "8", "1"),
        ("512", "1024", "1"),
    ]
    assert histogram([]) == []
