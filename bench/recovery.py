"""How soon a lab serves again after its database or broker was killed, and what it lost by that."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import httpx
import uvloop
from sqlalchemy import select

from bench.ground import Ground
from bench.load import Answer, drive, order_request, result_of
from bench.sample import sample
from labkit.ops.reader import Reader
from labkit.runtime.db.operations import UNDONE
from labkit.runtime.db.tables import operation
from labkit.shop.states import OrderStatus
from labkit.shop.tables import order
from labkit.waiting import poll_until

T = TypeVar("T")

_CLIENTS = 16
_BEFORE_SECONDS = 2  # of load, before the server is killed
_DOWN_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0
_PROBES = 5000  # orders of the one who looks; their coupons come before those of the load
_POLL_SECONDS = 0.01


class Server(Protocol):
    """A server that a lab stands on."""

    def kill(self) -> None:
        """Kill −9."""

    def start(self) -> None:
        """Start it again; return when it serves its own clients."""


@dataclass(frozen=True)
class Recovery:
    """The cost of a kill −9 under load; times in seconds.

    Attributes:
        server: from the server's start until it served its own clients.
        orders: from then until the answer to an order that was sent after that, and placed.
        messages: from then until an order was cancelled and all of it given back, for which the
            database and the queue are needed.
        placed: how many orders were acknowledged to the load.
        lost: those of them that are not confirmed after all has settled.
    """

    server: float
    orders: float
    messages: float
    placed: int
    lost: int


def recover(ground: Ground, server: Server, rate: int) -> Recovery:
    """Kill a server under load, leave it dead for a moment, start it, and see what follows.

    Args:
        ground: the lab; it is reset.
        server: is up, and is again in the end.
        rate: orders a second that are sent all the while.

    Raises:
        RuntimeError: orders were not placed before it, or nothing is served again.
    """
    most = int(4 * _PATIENCE_SECONDS * rate)
    ground.reset(_PROBES + most)
    with orders_at(rate, ground.url, range(_PROBES + 1, _PROBES + most + 1)) as answers:
        enough = _BEFORE_SECONDS * rate
        until(lambda: len(acknowledged(answers)) >= enough, "not enough orders are placed")
        server.kill()
        time.sleep(_DOWN_SECONDS)
        began = time.monotonic()
        server.start()
        serves = time.monotonic()
        order_id, placed = _place_and_cancel(ground.url)
        given_back = _given_back(ground, order_id)
    ground.settle()
    placed_then = acknowledged(answers)
    lost = placed_then - confirmed(ground)
    return Recovery(
        serves - began, placed - serves, given_back - serves, len(placed_then), len(lost)
    )


@contextmanager
def orders_at(rate: int, url: str, numbers: range) -> Iterator[list[Answer]]:
    """Orders at a steady rate, in a thread, for a block; the list of answers grows meanwhile.

    Args:
        rate: orders a second.
        url: of the order web.
        numbers: of the sample orders that are sent, at the most.
    """
    answers: list[Answer] = []
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        for number in numbers:
            if over.is_set():
                return
            yield order_request(sample(number))

    driving = drive(url, requests(), _CLIENTS, answers.append, rate=rate)
    thread = threading.Thread(target=uvloop.run, args=(driving,))
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def _place_and_cancel(url: str) -> tuple[int, float]:
    """Place an order as soon as that goes, and cancel it; its id, and when it was placed."""
    with httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False) as client:
        bodies = (sample(number) for number in range(1, _PROBES + 1))

        def place() -> tuple[str, int] | None:
            body = next(bodies)
            answer = client.post("/order/confirm", json=body)
            placed = answer.status_code == httpx.codes.OK
            return (answer.json()["data"]["order_id"], body["user_id"]) if placed else None

        def cancel() -> bool:
            answer = client.post(f"/order/{order_id}/cancel", json={"user_id": user_id})
            return answer.status_code == httpx.codes.OK

        order_id, user_id = until(place, "no order is placed")
        placed = time.monotonic()
        until(cancel, f"order {order_id} cannot be cancelled")
    return int(order_id), placed


def _given_back(ground: Ground, order_id: int) -> float:
    """Return when a cancelled order had given back all that it took."""
    undone = select(operation.c.order_id).where(
        operation.c.order_id == order_id, operation.c.outcome == UNDONE
    )
    reader = Reader(ground.home)
    owing = {"goods", "coupon", "user"}

    def all_back() -> bool:
        owing.difference_update([owed for owed in owing if reader.query(owed, undone)])
        return not owing

    until(all_back, f"order {order_id} is not given back")
    reader.close()
    return time.monotonic()


def acknowledged(answers: Sequence[Answer]) -> set[int]:
    """Return the orders of which a client was told that they are placed."""
    return {
        int(result_of(answer)["data"]["order_id"])
        for answer in list(answers)
        if answer.status == 200
    }


def confirmed(ground: Ground) -> set[int]:
    """Return the orders that are confirmed."""
    reader = Reader(ground.home)
    confirmed = select(order.c.order_id).where(order.c.order_status == OrderStatus.CONFIRMED)
    confirmed_ids = {int(row["order_id"]) for row in reader.query("order", confirmed)}
    reader.close()
    return confirmed_ids


def until(condition: Callable[[], T | None], complaint: str) -> T:
    """Return the first true value of a condition.

    Raises:
        RuntimeError: it did not come true in a minute; the complaint.
    """
    value = poll_until(condition, _PATIENCE_SECONDS, _POLL_SECONDS)
    if not value:
        raise RuntimeError(f"{complaint} within {_PATIENCE_SECONDS:.0f} s")
    return value
