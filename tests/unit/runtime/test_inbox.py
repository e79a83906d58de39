"""The inbox: each event is handled once; what fails is kept, tried again, and at last given up."""

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import InvalidSessionTimeoutError
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from labkit.faults.points import catalogue
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import Job, TransactionDefaults
from labkit.runtime.db.tables import DEAD, DONE, WAITING
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore
from labkit.runtime.messaging import inbox, outbox
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.inbox import BodyChanged, Delivery, Failure, Missing, MissingQuery
from labkit.runtime.messaging.kafka import BrokerConfig, KafkaBroker
from labkit.runtime.messaging.ports import Consumer, Polled
from labkit.runtime.registry.ids import NothingReserved
from labkit.runtime.steps import Step, step
from labkit.shop.messages import OrderCancelled
from labkit.shop.tables import goods
from labkit.shop.wiring import GROUPS
from labkit.waiting import wait_until
from tests.support.store import STOCK, OpenStore, Store

ORDER, POISON, NEEDS_ID = 1001, 666, 777
TABLE = "trade_mq_consumer_log"


@step()
def give_one(tx: Transaction, event: OrderCancelled) -> None:
    """A handler that is not safe to repeat: once handled, one piece more. One order is poison,
    and one needs a new id."""
    tx.execute(update(goods).values(goods_number=goods.c.goods_number + 1))
    if event.order_id == POISON:
        raise ZeroDivisionError("poison")
    if event.order_id == NEEDS_ID:
        tx.ids.next()


FIRST = inbox.guarded(give_one, OrderCancelled)
AGAIN = inbox.retried(give_one, OrderCancelled)
BY_HAND = inbox.retried(give_one, OrderCancelled, by_hand=True)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The goods database."""
    return open_store("goods")


def delivery(
    event_id: int = 1, order_id: int = ORDER, body: str | None = None, tries: int | None = None
) -> Delivery:
    body = body or OrderCancelled(order_id=order_id).model_dump_json()
    return Delivery(
        group="goods",
        event_id=event_id,
        topic="order_cancel",
        tag="cancelled",
        key=str(order_id),
        body=body,
        tries=tries,
    )


def fail(
    store: Store, delivery_: Delivery, error: str = "ZeroDivisionError: poison"
) -> dict[str, Any]:
    """Keep a failure; the row."""
    store.run(inbox.keep_failure, Failure(delivery=delivery_, error=error))
    return store.row(TABLE, event_id=delivery_.event_id)


def given_out(store: Store) -> int:
    """How often the handler has done its work."""
    return store.row("trade_goods")["goods_number"] - STOCK


def test_an_event_is_handled_once(store: Store) -> None:
    """The second delivery of an event changes nothing, whatever the handler would do."""
    store.run(FIRST, delivery())
    assert (given_out(store), store.row(TABLE)["status"]) == (1, DONE)
    before = store.everything()
    store.wait(60)
    store.run(FIRST, delivery())
    assert store.everything() == before


def test_row_and_change_commit_together(store: Store) -> None:
    """A handler that raises leaves neither its change nor the row: the event was not handled."""
    before = store.everything()
    with pytest.raises(ZeroDivisionError):
        store.run(FIRST, delivery(order_id=POISON))
    assert store.everything() == before


def test_a_body_that_cannot_be_read_raises(store: Store) -> None:
    """An event that is not what its topic says is not handled."""
    with pytest.raises(ValueError, match="order_id"):
        store.run(FIRST, delivery(body='{"order": 1}'))
    assert store.rows(TABLE) == []


def test_the_same_event_with_another_body_is_refused(store: Store) -> None:
    """It is kept out, told as a dead letter, and the row of the first body is not touched."""
    store.run(FIRST, delivery())
    before = store.rows(TABLE)
    changed = delivery(body=OrderCancelled(order_id=ORDER + 1).model_dump_json())

    with pytest.raises(BodyChanged):
        store.run(FIRST, changed)
    fail(store, changed, "BodyChanged")

    assert store.rows(TABLE) == before
    letter = json.loads(store.row("trade_mq_producer")["body"])
    assert (letter["event_id"], letter["body"]) == (1, changed.body)


def test_a_failure_is_kept_with_its_cause_and_next_try(store: Store) -> None:
    """Its row says what it was, why it failed and when it is tried again: not before."""
    row = fail(store, delivery())
    assert (row["status"], row["tries"], row["body"]) == (WAITING, 1, delivery().body)
    assert row["last_error"] == "ZeroDivisionError: poison"
    assert store.run(inbox.find_due, None) == []
    store.wait(store.settings.retry_first)
    assert store.run(inbox.find_due, None) == [delivery(tries=1)]


def test_delays_grow_up_to_a_limit(store: Store) -> None:
    """Each try waits up to twice as long as the one before, with jitter, never beyond the limit."""
    settings = store.settings
    for tries in range(1, settings.retry_limit):
        longest = min(settings.retry_first * 2 ** (tries - 1), settings.retry_max) * 1000
        before = store.wall_ms()
        row = fail(store, delivery())
        assert row["tries"] == tries
        assert before + longest / 2 - 1 <= row["next_try"] <= store.wall_ms() + longest


def test_after_the_last_try_it_is_dead(store: Store) -> None:
    """The row is dead and never due again, and one dead letter tells what and why."""
    for _ in range(store.settings.retry_limit):
        assert store.rows("trade_mq_producer") == []
        row = fail(store, delivery())
    store.wait(3600)

    assert row["status"] == DEAD
    assert store.run(inbox.find_due, None) == []
    outbox_row = store.row("trade_mq_producer")
    letter = json.loads(outbox_row["body"])
    assert (outbox_row["topic"], letter["group"], letter["event_id"]) == ("dead_letter", "goods", 1)
    assert (letter["source"], letter["order_id"]) == ("order_cancel", ORDER)
    assert letter["error"] == "ZeroDivisionError: poison"


def test_rows_that_fail_again_and_again_do_not_fill_the_batch(store: Store) -> None:
    """The row that is due longest comes first, though a hundred failing ones are older."""
    fail(store, delivery(101))
    for number in range(1, 101):
        for _ in range(3):
            fail(store, delivery(number))
    store.wait(60)
    assert store.run(inbox.find_due, None)[0] == delivery(101, tries=1)


def test_instances_that_try_a_row_together_burn_one_try(store: Store) -> None:
    """Each finds it due, and each fails: else as many instances give it up as many times sooner."""
    fail(store, delivery(1))
    store.wait(60)
    batches = [store.run(inbox.find_due, None) for _ in range(3)]
    for [due] in batches:
        assert fail(store, due)["tries"] == 2


def test_a_dead_event_is_not_tried_again_by_itself(store: Store) -> None:
    """A retry that was on its way when the row became dead changes nothing."""
    for _ in range(8):
        fail(store, delivery())
    before = store.everything()
    store.run(AGAIN, delivery())
    assert store.everything() == before


@pytest.mark.parametrize(("failures", "again"), [(1, AGAIN), (1, BY_HAND), (8, BY_HAND)])
def test_a_kept_event_can_be_handled_later(
    store: Store, failures: int, again: Step[Any, None]
) -> None:
    """A waiting row, or by hand a dead one, that works when tried again is done, once."""
    for _ in range(failures):
        fail(store, delivery())
    assert store.run(inbox.find_delivery, 1) == delivery(tries=failures)
    store.run(again, delivery())
    row = store.row(TABLE)
    assert (given_out(store), row["status"], row["last_error"]) == (1, DONE, None)
    before = store.everything()
    store.wait(60)

    store.run(AGAIN, delivery())
    store.run(FIRST, delivery())
    fail(store, delivery())
    assert store.everything() == before
    assert store.run(inbox.find_delivery, 1) is None


def test_a_waiting_event_that_comes_again_still_waits(store: Store) -> None:
    """A duplicate from the broker neither handles nor forgets what waits for its next try."""
    fail(store, delivery())
    before = store.everything()
    store.run(FIRST, delivery())
    assert store.everything() == before


def test_a_retry_that_fails_leaves_the_row_waiting(store: Store) -> None:
    """The retried row and its handler's change are undone together."""
    fail(store, delivery(order_id=POISON))
    before = store.everything()
    with pytest.raises(ZeroDivisionError):
        store.run(AGAIN, delivery(order_id=POISON))
    assert store.everything() == before


def asked(group: str, *deliveries: Delivery) -> MissingQuery:
    """Ask as the relay asks that sent these."""
    fingerprints = {
        message.event_id: inbox.fingerprint(message.topic, message.tag, message.key, message.body)
        for message in deliveries
    }
    return MissingQuery(group=group, fingerprints=fingerprints)


def test_the_audit_hears_what_is_missing(store: Store) -> None:
    """A row in any state counts as there; another group's does not."""
    store.run(FIRST, delivery(1))
    fail(store, delivery(2))
    for _ in range(store.settings.retry_limit):
        fail(store, delivery(3))
    ask = asked("goods", *map(delivery, (1, 2, 3, 4)))
    assert store.run(inbox.find_missing, ask) == Missing(lost=(4,))
    other = asked("user", delivery(1), delivery(4))
    assert store.run(inbox.find_missing, other) == Missing(lost=(1, 4))


OTHERS = {
    "body": OrderCancelled(order_id=ORDER + 1).model_dump_json(),
    "key": str(ORDER + 1),
    "topic": "order_return",
    "tag": "returned",
}


@pytest.mark.parametrize("differs", OTHERS)
def test_another_message_under_an_id_is_told_apart(store: Store, differs: str) -> None:
    """An id that was made twice: the second message is not taken for the first, by whoever asks."""
    store.run(FIRST, delivery())
    before = store.rows(TABLE)
    other = delivery().model_copy(update={differs: OTHERS[differs]})

    with pytest.raises(BodyChanged, match="event 1 came before"):
        store.run(FIRST, other)
    fail(store, other, "BodyChanged")
    assert store.rows(TABLE) == before
    assert store.row("trade_mq_producer")["topic"] == "dead_letter"
    ask = asked("goods", other, delivery(2))
    assert store.run(inbox.find_missing, ask) == Missing(lost=(2,), foreign=(1,))


@given(
    comings=st.lists(
        st.tuples(st.sampled_from(["first", "again", "fail"]), st.integers(1, 3)), max_size=15
    )
)
def test_however_events_come_each_is_handled_once(
    open_store: OpenStore, comings: list[tuple[str, int]]
) -> None:
    """Deliveries, retries and failures in any order: a done event was handled once, others not."""
    store = open_store("goods")
    for how, number in comings:
        letter = delivery(number, order_id=number)
        if how == "fail":
            fail(store, letter)
        else:
            store.run(FIRST if how == "first" else AGAIN, letter)
    assert given_out(store) == len(store.rows(TABLE, status=DONE))


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
        write_outbox=outbox.writer(GROUPS),
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
    ask, asked = database.ask, itertools.count()

    async def ask_later(which: Step[Any, Any], command: Any, *, bounded: bool) -> Any:
        if next(asked) >= 40:
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
        self.asked = 0

    async def join(self, _topics: Any) -> "RefusingBroker":
        """One more who will be refused."""
        self.asked += 1
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
        await asyncio.to_thread(wait_until, lambda: broker.asked >= 3, "it was asked thrice")
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
