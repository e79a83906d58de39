"""A load of orders that are placed, paid at the cashier, and followed until all have heard of it.

    python -m bench.pay_load HOME CLIENTS SECONDS FIRST [RATE]

places the sample order again and again, has its payment created, presses pay at the platform, and
waits until order, user and log service have handled `paid`; prints what came of it as JSON.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.load import Connection, connect, order_request, percentile
from bench.sample import sample
from labkit.home import Home

_LOOK_SECONDS = 0.005
_PATIENCE_SECONDS = 30.0
_SERVICES = ("order", "user", "log")

#: A row of the inbox commits with what its handler did; one commit at a time, numbered on.
_HEARD = """
SELECT rowid, CAST(msg_key AS INTEGER) FROM trade_mq_consumer_log
WHERE topic = 'paid' AND status = 1 AND rowid > ? ORDER BY rowid
"""
_ANSWERED = """
SELECT (julianday(answer_time) - julianday(add_time)) * 86400000 FROM platform_notice
WHERE answer_time IS NOT NULL AND rowid > ?
"""


class Watcher:
    """Sees in the databases when all three services have handled an order's `paid`.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._readers = {name: _reader(home, name) for name in (*_SERVICES, "platform")}
        self._waiting: dict[int, tuple[set[str], asyncio.Future[float]]] = {}
        self._last = {name: self._end(name, "trade_mq_consumer_log") for name in _SERVICES}
        self._notices = self._end("platform", "platform_notice")

    def expect(self, order_id: int) -> "asyncio.Future[float]":
        """Return a future of the time at which all have heard of an order's payment."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[order_id] = (set(_SERVICES), future)
        return future

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            for name in _SERVICES:
                for order_id in self._heard(name):
                    self._note(name, order_id)
            await asyncio.sleep(_LOOK_SECONDS)

    def answered_ms(self) -> list[float]:
        """Return how long each callback took, from its row at the platform to its answer."""
        return [row[0] for row in self._readers["platform"].execute(_ANSWERED, (self._notices,))]

    def _heard(self, name: str) -> Iterator[int]:
        for number, order_id in self._readers[name].execute(_HEARD, (self._last[name],)):
            self._last[name] = number
            yield order_id

    def _note(self, name: str, order_id: int) -> None:
        lacking, future = self._waiting.get(order_id, (set(), None))
        lacking.discard(name)
        if future and not lacking:
            del self._waiting[order_id]
            if not future.done():
                future.set_result(time.monotonic())

    def _end(self, name: str, table: str) -> int:
        highest = self._readers[name].execute(f"SELECT coalesce(max(rowid), 0) FROM {table}")
        return int(highest.fetchone()[0])


class Buyer:
    """One client: buys and pays, again and again.

    Args:
        ends: name of an entrance → its URL.
        watcher: tells when all have heard of a payment.
    """

    def __init__(self, ends: dict[str, str], watcher: Watcher) -> None:
        self._ends = ends
        self._watcher = watcher
        self._lines: dict[str, Connection] = {}

    async def buy(self, number: int) -> float:
        """Place an order, pay it, and wait until all have heard of it.

        Returns:
            Seconds from the cashier's answer until then.

        Raises:
            RuntimeError: something was refused; says what.
            OSError: a connection broke.
            TimeoutError: not all heard of it in time.
        """
        order = await self._ask("order-web", order_request(sample(number)))
        order_id = order["order_id"]
        paying = await self._ask("pay-web", _post("/pay/createPayment", {"order_id": order_id}))
        done = self._watcher.expect(int(order_id))
        await self._ask("platform", _post(urlsplit(paying["cashier_url"]).path + "/pay", {}))
        paid = time.monotonic()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await done - paid

    async def _ask(self, where: str, request: bytes) -> dict[str, Any]:
        line = self._lines.get(where)
        if line is None or line.closed:
            line = self._lines[where] = await connect(self._ends[where])
        status, body = await line.ask(request)
        if status != 200:
            raise RuntimeError(f"{status} {json.loads(body)['name']}")
        data: dict[str, Any] = json.loads(body)["data"]
        return data


async def run(home: Home, clients: int, seconds: float, first: int, rate: float) -> dict[str, Any]:
    """Let clients buy and pay for so long.

    Args:
        home: of the lab.
        clients: how many at once.
        seconds: for how long they begin anew.
        first: number of the first order.
        rate: orders a second that are begun; 0: as fast as they are done.
    """
    watcher, outcomes, delays = Watcher(home), Counter[str](), list[float]()
    watching = asyncio.create_task(watcher.watch())
    began, numbers = time.monotonic(), count()

    async def client() -> None:
        buyer = Buyer(home.state()["endpoints"], watcher)
        for at in numbers:
            due = began + at / rate if rate else time.monotonic()
            if due - began >= seconds:
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                delays.append(await buyer.buy(first + at))
                outcomes["200"] += 1
            except (RuntimeError, OSError, TimeoutError) as error:
                outcomes[str(error) or type(error).__name__] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.monotonic() - began
    watching.cancel()
    answered, heard = watcher.answered_ms(), [1000 * delay for delay in delays]
    return {
        "sent": outcomes.total(),
        "paid": outcomes["200"],
        "paid_per_s": outcomes["200"] / took,
        "callback_p50_ms": percentile(answered, 50),
        "callback_p99_ms": percentile(answered, 99),
        "heard_p50_ms": percentile(heard, 50),
        "heard_p99_ms": percentile(heard, 99),
        "outcomes": dict(outcomes),
    }


def _reader(home: Home, name: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{(home.databases / f'{name}.sqlite').as_uri()}?mode=ro", uri=True)


def _post(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    return (
        b"POST %b HTTP/1.1\r\nHost: labkit\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(content), content)
    )


def main(home: str, clients: int, seconds: float, first: int, rate: float = 0.0) -> None:
    """Put the load on a lab, and print what came of it."""
    burnt = time.process_time()
    figures = uvloop.run(run(Home(home), clients, seconds, first, rate))
    burnt = time.process_time() - burnt
    print(json.dumps({**figures, "cpu_ms": 1000 * burnt / max(1, figures["sent"])}))


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        float(sys.argv[3]),
        int(sys.argv[4]),
        *map(float, sys.argv[5:]),
    )
