"""Back-pressure: every place where something can wait is bounded, and says so when it is full."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from kafka.future import Future

from labkit.results import Result
from labkit.runtime.db.tables import SENT, UNSENT
from labkit.runtime.errors import Overloaded, Unknown
from labkit.runtime.messaging import kafka_producer
from labkit.runtime.messaging.kafka_producer import ThreadedProducer
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import Broker
from labkit.runtime.messaging.relay import Relay
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.wiring import GROUPS
from labkit.web.orders import order_web
from tests.support.counter import ONE, Add, Counting, announce, calling, offering, serving
from tests.support.grouping import SECONDS, Runner, mark, running, take
from tests.support.store import Store
from tests.support.waiting import wait_until_async
from tests.unit.web.test_intake import GOOD

LIMIT = 3


async def within(work: Any) -> Any:
    """Return what work gives, which must not hang."""
    return await asyncio.wait_for(work, SECONDS)


def orders_done(store: Store) -> list[int]:
    """The orders for which a step was done, in this order."""
    return [row["order_id"] for row in store.rows("trade_operation")]


def test_a_full_queue_refuses_a_step(tmp_path: Path) -> None:
    """The step that is one too many is refused at once and leaves nothing; the others are done,
    and then there is room again."""

    async def main(runner: Runner) -> None:
        ask = runner.database.ask
        with runner.held():
            waiting = [ask(*take(number, 1)) for number in range(LIMIT)]
            with pytest.raises(Overloaded, match=f"{LIMIT} steps wait"):
                ask(*take(99, 1))
            assert not any(future.done() for future in waiting)
        answers = await within(asyncio.gather(*waiting))
        assert all(answer.success for answer in answers)
        assert (await within(ask(*take(50, 1)))).success

    with running(tmp_path / "a", queue_limit=LIMIT) as (runner, store):
        asyncio.run(main(runner))
        assert orders_done(store) == [0, 1, 2, 50]


@asynccontextmanager
async def before(runner: Runner, folder: Path) -> AsyncIterator[dict[int, float]]:
    """A server whose calls are steps of a runner; when the time of each of its orders is over."""
    expiries: dict[int, float] = {}

    def handle(command: Add, expires: float) -> "asyncio.Future[Any]":
        expiries[command.order_id] = expires
        return runner.database.ask(*mark(command.order_id), expires)

    async with offering(handle) as (_, endpoint):
        announce(folder, endpoint)
        yield expiries


def test_a_service_with_a_full_queue_says_so(tmp_path: Path) -> None:
    """Through a call the caller hears that it is overloaded, before its time is over: it was not
    begun; whoever waits in the queue is done when its turn comes."""

    async def main(runner: Runner) -> None:
        async with before(runner, tmp_path), calling(tmp_path, timeout=SECONDS) as counter:
            with runner.held():
                waiting = [runner.database.ask(*take(number, 1)) for number in range(LIMIT)]
                with pytest.raises(Unknown, match="overloaded"):
                    await counter.add(Add(order_id=98, amount=1))
                assert not any(future.done() for future in waiting)
            await within(asyncio.gather(*waiting))
            assert (await counter.add(Add(order_id=99, amount=1))).success

    with running(tmp_path / "a", queue_limit=LIMIT) as (runner, store):
        asyncio.run(main(runner))
        assert orders_done(store) == [0, 1, 2, 99]


def test_what_nobody_waits_for_is_not_begun(tmp_path: Path) -> None:
    """A call whose time is over while it waits in the queue is unknown to its caller and is never
    run; one with time left is."""

    async def main(runner: Runner) -> None:
        async with (
            before(runner, tmp_path) as expiries,
            calling(tmp_path, timeout=0.2) as hasty,
            calling(tmp_path, timeout=SECONDS) as patient,
        ):
            with runner.held():
                waiting = asyncio.ensure_future(patient.add(Add(order_id=2, amount=1)))
                with pytest.raises(Unknown):
                    await hasty.add(Add(order_id=1, amount=1))
                await wait_until_async(
                    lambda: time.monotonic() > expiries.get(1, float("inf")),
                    "the hasty call is too late",
                )
            assert (await within(waiting)).success

    with running(tmp_path / "a") as (runner, store):
        asyncio.run(main(runner))
        assert orders_done(store) == [2]


def test_a_full_line_refuses_a_call(tmp_path: Path) -> None:
    """The call that is one too many is refused at once, while the others wait, and reaches nobody;
    when they are answered there is room again."""

    async def main() -> None:
        counting = Counting()
        counting.free.clear()
        async with (
            serving(tmp_path, counting.add),
            calling(tmp_path, timeout=SECONDS, limit=LIMIT) as counter,
        ):
            waiting = [asyncio.ensure_future(counter.add(ONE)) for _ in range(LIMIT)]
            await counting.begun.wait()
            with pytest.raises(Unknown, match=f"overloaded: {LIMIT} calls wait"):
                await counter.add(ONE)
            assert not any(future.done() for future in waiting)
            counting.free.set()
            await within(asyncio.gather(*waiting))
            assert counting.total == LIMIT
            assert (await counter.add(ONE)).success

    asyncio.run(main())


class Waiting:
    """The order service behind the web: answers nobody until it is told to."""

    def __init__(self) -> None:
        self.reached, self.free = 0, asyncio.Event()

    async def open_order(self, _command: m.OpenOrder) -> Result[m.Opening]:
        """Wait, then refuse."""
        self.reached += 1
        await self.free.wait()
        return Result[m.Opening].refused(Code.IDEMPOTENCY_KEY_REUSED, "reached")


def test_a_full_web_says_when_to_come_again() -> None:
    """The order that is one too many gets 503 with Retry-After at once and reaches no service;
    when the others are answered there is room again."""

    async def main() -> None:
        orders: Any = Waiting()
        transport = httpx.ASGITransport(order_web(orders, LIMIT))
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:

            async def place() -> httpx.Response:
                return await client.post("/order/confirm", json=GOOD)

            waiting = [asyncio.ensure_future(place()) for _ in range(LIMIT)]
            while orders.reached < LIMIT:
                await asyncio.sleep(0)
            refused = await within(place())
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert refused.json()["code"] == Code.DEPENDENCY_AWAY
            assert not any(future.done() for future in waiting)
            assert orders.reached == LIMIT
            orders.free.set()
            answers = [*await within(asyncio.gather(*waiting)), await within(place())]
            assert {answer.status_code for answer in answers} == {409}

    asyncio.run(main())


class SlowBroker:
    """Kafka's client of a broker that acknowledges nothing until it is told to."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self._owed: list[Future] = []
        self._slow = True

    def producer(self) -> ThreadedProducer:
        """A way to the broker by this client."""
        return ThreadedProducer(self.open_client)

    def open_client(self) -> Any:
        """One is enough."""
        return self

    def send(self, message: OutboxMessage) -> Future:
        """Take a message."""
        self.sent.append(message.event_id)
        acknowledgement = Future()
        self._owed.append(acknowledgement)
        if not self._slow:
            acknowledgement.success(None)
        return acknowledgement

    def acknowledge(self) -> None:
        """From now on, and what is owed."""
        self._slow = False
        for acknowledgement in self._owed:
            acknowledgement.success(None)


class SilentBroker(SlowBroker):
    """Its first client takes messages and never says a word, not even when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.later = SlowBroker()
        self.later.acknowledge()
        self._made: list[SlowBroker] = [self, self.later]

    def open_client(self) -> SlowBroker:
        """First the silent one."""
        return self._made.pop(0)

    def close(self) -> None:
        """Says nothing here either."""


def test_a_silent_producer_is_left_and_its_events_go_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an acknowledgement neither comes nor fails, the event is sent again in the end."""
    monkeypatch.setattr(kafka_producer, "_ACKNOWLEDGED_S", 0.3)
    broker, orders = SilentBroker(), range(3)

    async def main(runner: Runner, store: Store) -> None:
        def admin_of(_group: str) -> Any:
            raise AssertionError("nothing is audited here")

        for future in runner.together([mark(number) for number in orders]):
            future.result(SECONDS)
        relay = Relay("goods", cast(Broker, broker), runner.failpoints, admin_of, LIMIT, 3600.0)
        running_relay = asyncio.ensure_future(relay.run(runner.database, GROUPS))
        sent = {"status": SENT}
        await wait_until_async(
            lambda: len(store.rows("trade_mq_producer", **sent)) == len(orders),
            "all events are sent",
        )
        assert len(broker.sent) >= 1
        assert set(broker.sent) <= set(broker.later.sent)
        running_relay.cancel()

    with running(tmp_path / "a", outbox_lease=0.3, audit_delay=3600) as (runner, store):
        asyncio.run(main(runner, store))


def test_a_slow_broker_leaves_events_in_the_outbox(tmp_path: Path) -> None:
    """No more events are on their way than the limit; the others stay in the outbox, and are sent
    when the broker has caught up: none is lost."""
    broker, orders = SlowBroker(), range(10)

    async def main(runner: Runner, store: Store) -> None:
        def admin_of(_group: str) -> Any:
            raise AssertionError("nothing is audited here")

        def rows(**where: Any) -> list[Any]:
            return store.rows("trade_mq_producer", **where)

        for future in runner.together([mark(number) for number in orders]):
            future.result(SECONDS)
        written = {row["event_id"]: row["next_try"] for row in rows()}
        relay = Relay("goods", cast(Broker, broker), runner.failpoints, admin_of, LIMIT, 3600.0)
        running_relay = asyncio.ensure_future(relay.run(runner.database, GROUPS))
        await wait_until_async(
            lambda: all(row["next_try"] > written[row["event_id"]] for row in rows()),
            "all are put off",
        )
        await wait_until_async(lambda: len(broker.sent) == LIMIT, "as many as may be are sent")
        assert len(rows(status=UNSENT)) == len(orders)
        broker.acknowledge()
        await wait_until_async(lambda: len(rows(status=SENT)) == len(orders), "all are sent")
        assert sorted(broker.sent) == sorted(written)
        running_relay.cancel()

    with running(tmp_path / "a", outbox_lease=0.3, audit_delay=3600) as (runner, store):
        asyncio.run(main(runner, store))
