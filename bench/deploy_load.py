"""A load of customers who do not give up, for the time in which services are replaced.

    python -m bench.deploy_load HOME

places orders, pays for some of them, cancels others, until its standard input ends. Whoever gets no
final answer asks again under the same key, as a real client does. It prints, as JSON, how long each
customer waited, from when an order was due, and what they were told at last.
"""

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.load import Connection, connect
from bench.sample import sample
from labkit.home import Home

ORDERS_A_SECOND = 50
_PAID_EVERY, _CANCELLED_EVERY = 5, 25  # so that ten a second are paid
_CLIENTS = 64
_PATIENCE_S, _AGAIN_S = 60.0, 0.05
#: The statuses after which the same request may be answered otherwise.
_NOT_FINAL = (0, 202, 409, 429, 500, 502, 503, 504)


@dataclass
class Told:
    """What customers were told.

    Attributes:
        placed: the orders that were acknowledged, the cancelled ones not among them.
        paid: those of them whose payment was acknowledged.
        cancelled: the orders whose cancellation was acknowledged.
        waits: when an order was due, by `time.time`, and seconds until its acknowledgement.
        tries: answers that were not final, by status.
        trouble: what else was said, and how often.
    """

    placed: list[int] = field(default_factory=list)
    paid: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)


class Customer:
    """One customer: buys again and again, on connections of its own.

    Args:
        ends: name of an entrance → its URL.
        told: where it notes what it is told.
    """

    def __init__(self, ends: dict[str, str], told: Told) -> None:
        self._ends = ends
        self._told = told
        self._connections: dict[str, Connection] = {}

    async def buy(self, number: int, due: float, gift_note: str | None) -> None:
        """Place an order, and pay or cancel it where its number says so."""
        body = {**sample(number), "address": f"北京 {number}"}
        if gift_note:
            body["gift_note"] = gift_note
        data = await self._insist("order-web", "/order/confirm", body, number)
        self._told.waits.append((due, time.time() - due))
        if data is None:
            return
        order_id = int(data["order_id"])
        if number % _CANCELLED_EVERY == 1:
            path, body = f"/order/{order_id}/cancel", {"user_id": body["user_id"]}
            if await self._insist("order-web", path, body, number) is not None:
                self._told.cancelled.append(order_id)
                return
        self._told.placed.append(order_id)
        if number % _PAID_EVERY == 0:
            await self._pay(order_id, number)

    async def _pay(self, order_id: int, number: int) -> None:
        body = {"order_id": order_id}
        payment = await self._insist("pay-web", "/pay/createPayment", body, number)
        if payment:
            path = urlsplit(payment["cashier_url"]).path + "/pay"
            if await self._insist("platform", path, {}, number) is not None:
                self._told.paid.append(order_id)

    async def _insist(
        self, where: str, path: str, body: dict[str, Any], number: int
    ) -> dict[str, Any] | None:
        """Ask until the answer is final; return its data, or None where it is a refusal."""
        request, status, answer = _post(path, body, f"{path}-{number}-{_RUN}"), 0, b""
        deadline = time.monotonic() + _PATIENCE_S
        while status in _NOT_FINAL and time.monotonic() < deadline:
            try:
                status, answer = await (await self._connection(where)).ask(request)
            except (OSError, TimeoutError) as error:
                status, answer = 0, type(error).__name__.encode()
                self._connections.pop(where).close()
            if status in _NOT_FINAL:
                self._told.tries[str(status or answer.decode())] += 1
                await asyncio.sleep(_AGAIN_S)
        if status != 200:
            self._told.trouble[f"{where} {status} {answer[:120].decode()}"] += 1
            return None
        data: dict[str, Any] = json.loads(answer)["data"]
        return data or {}

    async def _connection(self, where: str) -> Connection:
        connection = self._connections.get(where)
        if connection is None or connection.closed:
            connection = self._connections[where] = await connect(self._ends[where])
        return connection


_RUN = uuid.uuid4().hex[:8]


async def run(home: Home, told: Told) -> None:
    """Buy at a steady rate until standard input ends; then wait for the last answers."""
    ends = home.state()["endpoints"]
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began, numbers = time.time(), iter(range(1, sys.maxsize))

    async def customer() -> None:
        mine = Customer(ends, told)
        for number in numbers:
            due = began + number / ORDERS_A_SECOND
            await asyncio.sleep(max(0.0, due - time.time()))
            if over.done():
                return
            await mine.buy(number, due, None)

    await asyncio.gather(*(customer() for _ in range(_CLIENTS)))


def _post(path: str, body: dict[str, Any], key: str) -> bytes:
    content = json.dumps(body, ensure_ascii=False).encode()
    return (
        b"POST %b HTTP/1.1\r\nHost: labkit\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), key.encode(), len(content), content)
    )


def main(home: str) -> None:
    """Put the load on a lab, and print what came of it."""
    told = Told()
    uvloop.run(run(Home(home), told))
    print(json.dumps(vars(told)))


if __name__ == "__main__":
    main(sys.argv[1])
