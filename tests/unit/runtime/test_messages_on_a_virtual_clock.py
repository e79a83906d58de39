"""Relay, audit and consumer on a broker in memory and a clock of the test's own.

What decides about messages awaits nothing but its ports: no thread, no socket, and no time passes
but the test's.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.runtime.db.tables import SETTLED
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.ports import Broker
from labkit.runtime.messaging.relay import Relay
from labkit.runtime.steps import Step
from labkit.runtime.wiring import failpoints_of
from labkit.shop.goods import return_stock
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import SERVICES
from tests.support.memory_broker import TOPIC, Admin, Log, MemoryBroker
from tests.support.outbox_events import ORDER, emit
from tests.support.store import OpenStore, Store

GROUPS = {TOPIC: ("goods",)}


class VirtualClock:
    """A clock that jumps to the next moment for which somebody waits.

    Args:
        stores: whose wall clocks go with it.
    """

    def __init__(self, *stores: Store) -> None:
        self._stores = stores
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return self._stores[0].wall_ms()

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def run_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time pass until a condition holds."""
        while True:
            for _ in range(20):  # all that can go on without time goes on
                await asyncio.sleep(0)
            if condition():
                return
            at, _, woken = heapq.heappop(self._sleepers)
            assert at <= seconds, f"not true after {seconds} s"
            for store in self._stores:
                store.wait_by_the_wall(at - self._now)
            self._now = at
            if not woken.done():
                woken.set_result(None)


class StoreRunner:
    """The port `StepRunner` on the database of a test."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        return self._store.run(step, command)

    async def ask(self, step: Step[Any, Any], command: Any, *, bounded: bool = True) -> Any:
        assert not bounded
        return self._store.run(step, command)


def _failpoints(folder: Path, service: str) -> Failpoints:
    folder.mkdir()
    return Failpoints(folder, f"{service}-1", failpoints_of(SERVICES[service]))


@pytest.mark.parametrize("losses", [0, 1, 3])
def test_an_event_arrives_however_often_the_broker_loses_it(
    open_store: OpenStore, tmp_path: Path, losses: int
) -> None:
    """The broker acknowledges and loses it; the audit finds out, and the relay sends it again."""
    order, goods = open_store("order"), open_store("goods")
    clock, log = VirtualClock(order, goods), Log()
    log.losses = losses

    def broker() -> Broker:
        return cast(Broker, MemoryBroker(log, ORDER % 2, clock))

    async def main() -> float:
        consumer = EventConsumer(
            "goods",
            {TOPIC: (OrderCancelled, return_stock)},
            broker(),
            StoreRunner(goods),
            _failpoints(tmp_path / "goods-faults", "goods"),
            clock,
        )
        admin = cast(AdminService, Admin(StoreRunner(goods), consumer))
        failpoints = _failpoints(tmp_path / "order-faults", "order")
        relay = Relay("order", broker(), failpoints, lambda _group: admin, 100, 1.0, clock)
        tasks = [
            asyncio.create_task(consumer.run()),
            asyncio.create_task(relay.run(StoreRunner(order), GROUPS)),
        ]
        await clock.run_until(lambda: _status(order) == SETTLED, seconds=120)
        for task in tasks:
            task.cancel()
        return clock.monotonic()

    emit(order, ORDER)
    with order.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trade_mq_producer SET groups = 'goods'")
    seconds = asyncio.run(main())
    assert len(log.records[ORDER % 2]) == 1
    assert len(goods.rows("trade_mq_consumer_log")) == 1
    assert seconds > losses


def _status(order: Store) -> int:
    return int(order.row("trade_mq_producer")["status"])
