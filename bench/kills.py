"""How soon everything goes on after a kill −9 of each process of a lab, while orders are placed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import httpx
from sqlalchemy import select

from bench.ground import Ground
from bench.recovery import acknowledged, confirmed, orders_at, until
from bench.sample import sample
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms
from labkit.runtime.db.tables import DONE, inbox
from labkit.runtime.registry.ids import first_of
from labkit.shop.messages import OrderCancelled, OrderPaid
from labkit.shop.states import OrderStatus
from labkit.shop.tables import order
from labkit.shop.wiring import SERVICES
from labkit.stack.supervisor import launch

#: Every kind of process; the console and the supervisor serve no order.
PROCESSES = (
    "order",
    "goods",
    "coupon",
    "user",
    "pay",
    "log",
    "order-web",
    "pay-web",
    "platform",
    "broker",
)
_RATE = 10  # orders a second all the while
_MOST = 20_000  # orders of the load, and of the one who looks
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Kill:
    """The outcome of one kill; times in seconds from it.

    Attributes:
        process: who was killed.
        calls: until an order was placed, its payment opened and paid, and another one cancelled.
        messages: until everybody had handled what those two orders told.
        decided: until every order that was begun by the time of `calls` was confirmed or cancelled.
    """

    process: str
    calls: float
    messages: float
    decided: float


class Kills(NamedTuple):
    """Of all kills: each, and how many orders were acknowledged meanwhile and lost."""

    each: list[Kill]
    acknowledged: int
    lost: int


def kill_each(ground: Ground, times: int) -> Kills:
    """Kill every kind of process under load, one after the other.

    Args:
        ground: the lab; it is reset.
        times: how often each.

    Raises:
        RuntimeError: something is not served again.
    """
    ground.reset(2 * _MOST)
    with orders_at(_RATE, ground.url, range(_MOST + 1, 2 * _MOST + 1)) as answers:
        person = _Person(ground)
        person.buy_and_cancel()  # consumers have joined
        kills = [_kill(ground, person, name) for _ in range(times) for name in PROCESSES]
    person.close()
    ground.settle()
    placed = acknowledged(answers)
    return Kills(kills, len(placed), len(placed - confirmed(ground)))


def _kill(ground: Ground, person: "_Person", process: str) -> Kill:
    pid = ground.processes()[process].pid
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    paid, cancelled = person.buy_and_cancel()
    calls = time.monotonic() - began
    begun = wall_ms()
    reader = Reader(ground.home)
    until(lambda: person.is_heard(reader, paid, cancelled), f"{process} killed: not all heard")
    messages = time.monotonic() - began
    open_still = (order.c.order_status == OrderStatus.UNCONFIRMED) & (
        order.c.order_id < first_of(begun)
    )
    undecided = select(order.c.order_id).where(open_still)
    until(lambda: not reader.query("order", undecided), f"{process} killed: not all decided")
    decided = time.monotonic() - began
    reader.close()
    return Kill(process, calls, messages, decided)


class _Person:
    """Buys and pays one thing, and buys and cancels another, as soon as that goes."""

    def __init__(self, ground: Ground) -> None:
        self._ends = launch.status(ground.home)["endpoints"]
        self._numbers = count(1)
        self._http = httpx.Client(timeout=_PATIENCE_SECONDS, trust_env=False)

    def buy_and_cancel(self) -> tuple[int, int]:
        """Return the ids of an order that was paid, and of one that was cancelled."""
        web, pay_web = self._ends["order-web"], self._ends["pay-web"]
        (paid, _), (cancelled, user_id) = self._place(), self._place()
        opened = self._asked(f"{pay_web}/pay/createPayment", lambda: {"order_id": str(paid)})
        self._asked(f"{opened['cashier_url']}/pay", dict)
        self._asked(f"{web}/order/{cancelled}/cancel", lambda: {"user_id": user_id})
        return paid, cancelled

    def is_heard(self, reader: Reader, paid: int, cancelled: int) -> bool:
        """Return True if all who must have handled the events of the two orders."""
        events = ((OrderPaid, paid), (OrderCancelled, cancelled))
        return all(
            reader.query(
                service.name,
                select(inbox.c.event_id).where(
                    inbox.c.topic == event.topic,
                    inbox.c.msg_key == str(order_id),
                    inbox.c.status == DONE,
                ),
            )
            for event, order_id in events
            for service in _hearers(event)
        )

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _place(self) -> tuple[int, int]:
        bodies = (sample(next(self._numbers)) for _ in count())
        body: dict[str, Any] = {}

        def anew() -> dict[str, Any]:
            body.update(next(bodies))
            return body

        placed = self._asked(f"{self._ends['order-web']}/order/confirm", anew)
        return int(placed["order_id"]), int(body["user_id"])

    def _asked(self, url: str, body: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Ask until the answer is a success, and give its data."""

        def ask() -> dict[str, Any] | None:
            try:
                answer = self._http.post(url, json=body())
            except httpx.TransportError:
                return None
            if answer.status_code != httpx.codes.OK:
                return None
            return answer.json().get("data") or {"": ""}

        return until(ask, f"{url} is not answered")


def _hearers(event: Any) -> Iterator[Any]:
    return (service for service in SERVICES.values() if event in service.handlers)
