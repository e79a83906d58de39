"""The floor: what an order costs where nothing but its steps is left.

The same steps on the same kind of SQLite files with the same settings, called directly in one
process, in transactions of 50: no services, no calls, no web, no groups that have to form. No
runtime that keeps each service's data apart can do better than this on one core, so the share of
it that the running shop reaches is the figure that says how good the runtime is.

    python -m bench.floor [SECONDS]
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from bench.fill import seeds_for
from bench.sample import GOODS_ID, sample
from labkit.home import sqlite_url
from labkit.results import Result
from labkit.runtime.clock import as_time, wall_ms
from labkit.runtime.db.deferred import DeferredWrites
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.outbox import event_writer
from labkit.runtime.registry.ids import IdMaker
from labkit.settings import Settings
from labkit.shop import coupons, goods, users
from labkit.shop import messages as m
from labkit.shop.order import flows, pricing, steps
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS
from labkit.stack.setup.seeds import files, seed

GROUP = 50
_FASTEST = 4000  # orders/s that no machine does
A = TypeVar("A")
T = TypeVar("T")


class _Lease:
    """A worker id that nobody contends for."""

    worker = 1

    def reserve(self, until_ms: int) -> int:
        """Nothing else runs here, so nothing is to be kept."""
        return until_ms + 3_600_000


class Floor:
    """The shop's databases, and its steps called directly.

    Args:
        folder: where the databases are made; none may be there.
        most: how many orders there can be.
    """

    def __init__(self, folder: Path, most: int) -> None:
        seed(files(folder), seeds_for(most), as_time(wall_ms()))
        urls = {name: sqlite_url(folder, name) for name in TABLES}
        self._writers = {name: open_engine(url) for name, url in urls.items()}
        self._readers = {name: open_engine(url, "BEGIN") for name, url in urls.items()}
        self._ids = IdMaker(_Lease(), wall_ms)
        self._settings = Settings()
        self._write_outbox = event_writer(GROUPS)

    def place(self, numbers: list[int]) -> int:
        """Place a group of orders, each step of all of them in one transaction.

        Args:
            numbers: of the orders, from 1; each is its order's coupon too.

        Returns:
            How many are placed.
        """
        requests = [m.PlaceOrder(**sample(number)) for number in numbers]
        opened = self._write(
            "order",
            steps.open_order,
            [
                m.OpenOrder(
                    user_id=request.user_id,
                    idempotency_key=str(number),
                    request_hash=request.digest(),
                )
                for number, request in zip(numbers, requests, strict=True)
            ],
        )
        checked = self._check(
            [
                m.ConfirmOrder(order_id=data_of(ticket).order_id, request=request)
                for ticket, request in zip(opened, requests, strict=True)
            ]
        )
        self._write("order", steps.save_pre_order, checked)
        self._take(checked)
        done = self._write(
            "order", steps.confirm_pre_order, [flows.confirmation(order) for order in checked]
        )
        return sum(result.success for result in done)

    def close(self) -> None:
        """Let go of the databases."""
        for engine in (*self._writers.values(), *self._readers.values()):
            engine.dispose()

    def _check(self, commands: list[m.ConfirmOrder]) -> list[m.PreOrder]:
        requests = [command.request for command in commands]
        goods_rows = self._read(
            "goods",
            goods.find_goods,
            [m.FindGoods(goods_id=request.goods_id) for request in requests],
        )
        buyers = self._read(
            "user", users.find_user, [m.FindUser(user_id=request.user_id) for request in requests]
        )
        tickets = self._read(
            "coupon",
            coupons.find_coupon,
            [m.FindCoupon(coupon_id=request.coupon_id or 0) for request in requests],
        )
        checked = [
            pricing.check(command, data_of(goods_row), data_of(buyer), data_of(ticket))
            for command, goods_row, buyer, ticket in zip(
                commands, goods_rows, buyers, tickets, strict=True
            )
        ]
        return [result.data for result in checked if result.data]

    def _take(self, checked: list[m.PreOrder]) -> None:
        self._write(
            "goods",
            goods.deduct_stock,
            [
                m.DeductStock(order_id=order.order_id, goods_id=GOODS_ID, goods_number=1)
                for order in checked
            ],
        )
        self._write(
            "coupon",
            coupons.use_coupon,
            [
                m.UseCoupon(
                    order_id=order.order_id,
                    coupon_id=order.request.coupon_id or 0,
                    user_id=order.request.user_id,
                    coupon_price=order.coupon_paid,
                )
                for order in checked
            ],
        )
        self._write(
            "user",
            users.deduct_balance,
            [
                m.DeductBalance(
                    order_id=order.order_id,
                    user_id=order.request.user_id,
                    money_paid=order.request.money_paid,
                )
                for order in checked
            ],
        )

    def _write(self, name: str, step: Callable[[Transaction, T], A], commands: list[T]) -> list[A]:
        with self._transaction(self._writers[name]) as tx:
            answers = [step(tx, command) for command in commands]
            self._write_outbox(tx)
        return answers

    def _read(self, name: str, step: Callable[[Transaction, T], A], commands: list[T]) -> list[A]:
        with self._transaction(self._readers[name]) as tx:
            return [step(tx, command) for command in commands]

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Transaction]:
        with engine.begin() as connection:
            now = wall_ms()
            tx = Transaction(connection, as_time(now), now, self._ids, self._settings)
            tx.deferred = DeferredWrites(tx.cursor)
            yield tx
            tx.deferred.flush()


def data_of(result: Result[T]) -> T:
    """Return what a step handed over."""
    assert result.data, result.message
    return result.data


def measure(seconds: float, where: Path | None = None) -> dict[str, float]:
    """Place orders for so long.

    Args:
        seconds: how long.
        where: the folder in which databases are made, and removed again.

    Returns:
        `orders`, `orders_per_s`, and `cpu_ms` of an order.
    """
    most = int(seconds * _FASTEST) + 2 * GROUP
    with tempfile.TemporaryDirectory(prefix="floor-", dir=where) as folder:
        floor = Floor(Path(folder), most)
        groups = (list(range(first, first + GROUP)) for first in range(1, most - GROUP, GROUP))
        floor.place(next(groups))  # statements are compiled once
        began, burnt, placed = time.monotonic(), time.process_time(), 0
        for group in groups:
            placed += floor.place(group)
            if time.monotonic() - began > seconds:
                break
        took, burnt = time.monotonic() - began, time.process_time() - burnt
        floor.close()
    return {"orders": placed, "orders_per_s": placed / took, "cpu_ms": 1000 * burnt / placed}


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)))
