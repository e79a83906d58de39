"""The consumer of a service: what fails holds up nobody, and no outage burns a try."""

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from kafka.errors import InvalidSessionTimeoutError
from sqlalchemy.exc import OperationalError

from labkit.faults.points import catalogue
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import Job, TransactionDefaults
from labkit.runtime.db.tables import DONE, WAITING
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.kafka import BrokerConfig, KafkaBroker
from labkit.runtime.messaging.ports import Consumer, Polled
from labkit.runtime.registry.ids import NothingReserved
from labkit.runtime.steps import Step
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import GROUPS
from labkit.waiting import wait_until
from tests.support.inbox_events import (
    NEEDS_ID,
    POISON,
    TABLE,
    delivery,
    fail,
    give_one,
    given_out,
)
from tests.support.store import Store

Running = tuple[EventConsumer, Store, Database]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """The inbox of goods as its service runs it; no broker is asked for anything here."""
    url = f"sqlite:///{tmp_path / 'goods'}.sqlite"
    store = Store("goods", tmp_path, url)
    points = [failpoint for failpoint in catalogue().values() if failpoint.service == "goods"]
    points += [Failpoint("goods", "give_one", boundary) for boundary in KINDS["commit"]]
    failpoints = Failpoints(tmp_path, "goods-1", points)
    context = TransactionDefaults(
        service="goods",
        clock=store.clock,
        ids=store.ids,
        settings=store.settings,
        failpoints=failpoints,
        write_outbox=outbox.event_writer(GROUPS),
        committed=lambda _: None,
    )
    database = Database(url, context)
    handlers = {"order_cancel": (OrderCancelled, give_one)}
    config = BrokerConfig("127.0.0.1:1", "", durable=False, partitions=4, session=3)
    broker = KafkaBroker(config, "goods")
    yield EventConsumer("goods", handlers, broker, database, failpoints), store, database
    database.close()
    store.engine.dispose()


async def _until(condition: Any, work: Any) -> None:
    """Let the loop of retries work until a condition holds."""
    task = asyncio.create_task(work)
    await asyncio.to_thread(wait_until, lambda: task.done() or condition(), "it is so")
    assert not task.done(), task.exception()
    task.cancel()


def test_poison_stops_nobody(running: Running, tmp_path: Path) -> None:
    """One row that fails for ever, retried first: the others are handled, it goes on waiting; and
    a failure that cannot be kept at once does not end the retries."""
    work, store, _ = running
    fail(store, delivery(100, order_id=POISON))
    for number in range(1, 6):
        fail(store, delivery(number, order_id=number))
    FailpointStore(tmp_path).arm("goods.keep_failure.before_commit", "refuse")

    def handled() -> bool:
        done = {row["event_id"] for row in store.rows(TABLE, status=DONE)}
        return done == {1, 2, 3, 4, 5} and store.row(TABLE, event_id=100)["tries"] >= 3

    asyncio.run(_until(handled, work.run_retries()))
    assert given_out(store) == 5
    assert store.row(TABLE, event_id=100)["status"] == WAITING


def test_where_no_ids_can_be_made_no_tries_are_burnt(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is none of the event's doing: it waits for as long as it takes, and is done then."""
    work, store, _ = running
    fail(store, delivery(1, order_id=NEEDS_ID))
    refused: list[int] = []

    def refuse() -> int:
        refused.append(1)
        raise NothingReserved("ZooKeeper reserved no time for ids")

    with monkeypatch.context() as patch:
        patch.setattr(store.ids, "next", refuse)
        asyncio.run(_until(lambda: len(refused) > 3, work.run_retries()))
        assert store.row(TABLE, event_id=1)["tries"] == 1
    asyncio.run(_until(lambda: store.rows(TABLE, status=DONE), work.run_retries()))
    assert given_out(store) == 1


def test_where_too_much_waits_no_tries_are_burnt(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that takes no more steps has refused the retry before it began."""
    work, store, database = running
    fail(store, delivery(1))
    refused: list[int] = []
    put = database._writer.put

    def refuse(job: Job, *, bounded: bool) -> None:
        if job.step.name == give_one.name:
            refused.append(1)
            raise Overloaded("1000 steps wait for goods's database; ask later")
        put(job, bounded=bounded)

    with monkeypatch.context() as patch:
        patch.setattr(database._writer, "put", refuse)
        asyncio.run(_until(lambda: len(refused) > 2, work.run_retries()))
    assert store.row(TABLE, event_id=1)["tries"] == 1


class Offsets:
    """A polled message is taken care of."""

    async def commit(self) -> None:
        """Note it."""


def test_all_that_was_polled_is_handled_as_soon_as_the_database_is_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outage is waited for once, and not by each message of it."""
    work, store, database = running
    away = sqlite3.OperationalError("database is locked")
    ask, calls = database.ask, itertools.count()

    async def ask_later(which: Step[Any, Any], command: Any, *, bounded: bool) -> Any:
        if next(calls) >= 40:
            return await ask(which, command, bounded=bounded)
        raise OperationalError("BEGIN IMMEDIATE", {}, away)

    async def cross(_name: str) -> None:
        """Nothing is armed."""

    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(database, "ask", ask_later)
    monkeypatch.setattr(work._failpoints, "cross_async", cross)
    monkeypatch.setattr(work._clock, "sleep", pause)
    polled = [delivery(number) for number in range(1, 40)]
    asyncio.run(work._take(cast(Consumer, Offsets()), polled))
    assert given_out(store) == 39
    assert len(pauses) == 1


class RefusingBroker:
    """Lets nobody into a group, and says so again to who leaves: a session that is too short."""

    def __init__(self) -> None:
        self.joins = 0

    async def join(self, _topics: Any) -> "RefusingBroker":
        """One more who will be refused."""
        self.joins += 1
        return self

    async def poll(self, _timeout_s: float) -> Polled:
        """Nothing is read by who is not in the group."""
        raise InvalidSessionTimeoutError

    async def close(self) -> None:
        """Leaving asks the group, too."""
        raise InvalidSessionTimeoutError


def test_a_consumer_that_cannot_even_leave_is_made_anew(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes on asking; a consumer that ended would leave it deaf for ever."""
    work, broker = running[0], RefusingBroker()
    monkeypatch.setattr(work, "_broker", broker)

    async def consume() -> None:
        work.start()
        await asyncio.to_thread(wait_until, lambda: broker.joins >= 3, "it was asked thrice")
        await work.stop()

    asyncio.run(consume())


def test_a_kept_event_is_driven_by_hand(running: Running) -> None:
    """By hand a dead event is done where its cause is gone, says why where not, and an event
    that waits nowhere is refused."""
    work, store, _ = running
    for _ in range(store.settings.retry_limit):
        fail(store, delivery(1))
    fail(store, delivery(2, order_id=POISON))

    async def drive() -> list[Any]:
        return [await work.retry(StuckItem(number=number)) for number in (1, 2, 3)]

    done, failed, unknown = asyncio.run(drive())
    assert (done.success, given_out(store)) == (True, 1)
    assert "ZeroDivisionError: poison" in failed.message
    assert store.row(TABLE, event_id=2)["tries"] == 2
    assert "3" in unknown.message
    assert not unknown.success
