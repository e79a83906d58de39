"""A load generator that costs far less than what it measures: it runs on the same machine.

Keep-alive connections on uvloop, one for each client, and httptools to read the answers. Every
request ends as an `Answer`, the ones that got none too.

    python -m bench.load http://127.0.0.1:PORT CLIENTS SECONDS [FIRST]

places the sample order again and again (after a reset with `bench.fill.seeds_for`; FIRST is
the number of the first order, and of its coupon) and prints what came of it as JSON.
"""

import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools
import uvloop

from bench.sample import sample

_PATIENCE_SECONDS = 15.0
_RECONNECT_SECONDS = 0.05


class Answer(NamedTuple):
    """The outcome of one request.

    Attributes:
        number: of the request, from the first.
        status: the HTTP status; 0 where there was no answer.
        body: of the answer; where there was none, the name of the error.
        at: when it came, seconds since the load began.
        seconds: since it was sent, or since it should have been where there is a rate.
    """

    number: int
    status: int
    body: bytes
    at: float
    seconds: float


class Connection(asyncio.Protocol):
    """One keep-alive connection: one request, one answer, and again."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = b""

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and wait for the status and the body of its answer.

        Raises:
            OSError: the connection broke before the answer was whole.
            TimeoutError: there was no answer in time.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._body = b""
        self._transport.write(request)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._answer

    @property
    def closed(self) -> bool:
        """Return True if the other side hung up between two requests."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(ConnectionError("not HTTP"))

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by the loop."""
        self._end(ConnectionResetError())

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._answer and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._body))
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _end(self, error: OSError) -> None:
        self._transport.close()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)


async def drive(
    url: str,
    requests: Iterable[bytes],
    clients: int,
    on_answer: Callable[[Answer], None],
    *,
    seconds: float = math.inf,
    rate: float | None = None,
) -> None:
    """Send requests until there are no more, or time is over; then wait for the last answers.

    Args:
        url: of the web.
        requests: what is sent, in this order.
        clients: how many at once; each waits for its answer before it sends again.
        on_answer: called with each answer.
        seconds: when to stop sending.
        rate: requests a second. A request whose time has come while all clients still wait is
            sent late, and its wait counts (else the slow moments hide themselves: coordinated
            omission). Without a rate every client sends as fast as it is answered.
    """
    began = time.monotonic()
    waiting = enumerate(requests, 1)  # shared: whoever is free takes the next one

    async def client() -> None:
        connection: Connection | None = None
        for number, request in waiting:
            now = time.monotonic()
            due = began + (number - 1) / rate if rate else now
            if due - began >= seconds:
                break
            if due > now:
                await asyncio.sleep(due - now)
            try:
                if connection is None or connection.closed:
                    connection = await connect(url)
                status, body = await connection.ask(request)
            except (OSError, TimeoutError) as error:
                status, body = 0, type(error).__name__.encode()
            now = time.monotonic()
            on_answer(Answer(number, status, body, now - began, now - due))
            if not status:
                if connection:
                    connection.close()
                connection = None
                await asyncio.sleep(_RECONNECT_SECONDS)
        if connection:
            connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def connect(url: str) -> Connection:
    """Open a connection.

    Raises:
        OSError: nobody listens.
        TimeoutError: nobody answers.
    """
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    host, port = where.hostname or "", where.port or 80
    async with asyncio.timeout(_PATIENCE_SECONDS):
        _, connection = await loop.create_connection(Connection, host, port)
    return connection


def order_request(body: dict[str, Any]) -> bytes:
    """Build the bytes of `POST /order/confirm`."""
    content = json.dumps(body, ensure_ascii=False).encode()
    return (
        b"POST /order/confirm HTTP/1.1\r\nHost: labkit\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    )


def outcome(answer: Answer) -> str:
    """Sum an answer up in a word or two: `200`, `422 STOCK_SHORT`, `ConnectionResetError`."""
    if not answer.status:
        return answer.body.decode()
    if answer.status == 200:
        return "200"
    return f"{answer.status} {result_of(answer).get('name', '(no Result)')}"


def result_of(answer: Answer) -> dict[str, Any]:
    """Return the `Result` that an answer carries; empty where it carries none."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def percentile(numbers: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of some numbers; None where there is none."""
    ordered = sorted(numbers)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def summary(answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
    """Sum a load up: orders a second until the last was placed, how long each took, outcomes.

    Args:
        answers: all of them.
        seconds: for how long requests were sent.
    """
    placed = [answer for answer in answers if answer.status == 200]
    took = [1000 * answer.seconds for answer in placed]
    return {
        "sent": len(answers),
        "placed": len(placed),
        "orders_per_s": len(placed) / max([seconds, *(answer.at for answer in placed)]),
        "p50_ms": percentile(took, 50),
        "p99_ms": percentile(took, 99),
        "outcomes": dict(Counter(map(outcome, answers))),
    }


def main(url: str, clients: int, seconds: float, first: int = 1) -> None:
    """Place the sample order again and again, and print what came of it."""
    answers: list[Answer] = []
    requests = (order_request(sample(number)) for number in count(first))
    burnt = time.process_time()
    uvloop.run(drive(url, requests, clients, answers.append, seconds=seconds))
    burnt = time.process_time() - burnt
    figures = summary(answers, seconds)
    print(json.dumps({**figures, "cpu_ms": 1000 * burnt / max(1, len(answers))}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:]))
