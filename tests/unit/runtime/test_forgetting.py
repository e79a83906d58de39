"""Forgetting: what is settled goes, and its repetition is still none of a new event."""

import asyncio
from typing import Any

import pytest

from labkit.runtime.db.tables import GIVEN_UP, INBOX, OUTBOX, SENT, SETTLED, UNSENT
from labkit.runtime.errors import Unknown
from labkit.runtime.messaging import dead_letters, forgetting, inbox, outbox
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.forgetting import (
    DoneBetween,
    Gone,
    Held,
    HeldQuery,
    MaybeForgotten,
    SettledBefore,
    Told,
)
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.messaging.retention import Retention, Senders
from labkit.runtime.steps import step
from labkit.shop.messages import OrderPaid
from tests.support.inbox_events import FIRST, POISON, delivery, fail, given_out
from tests.support.outbox_events import emit, sent
from tests.support.store import OpenStore, Store, audited

OUT, IN = "trade_mq_producer", "trade_mq_consumer_log"
DAY_S = 86_400


@pytest.fixture
def order(open_store: OpenStore) -> Store:
    return open_store("order")


@pytest.fixture
def goods(open_store: OpenStore) -> Store:
    return open_store("goods")


def settled(store: Store, *orders: int) -> list[int]:
    """Events that every group has; their ids."""
    ids = sent(store, *orders)
    store.run(outbox.mark_settled, audited(store, *ids))
    return ids


def old(store: Store, kept: str = "dead_letter") -> SettledBefore:
    return SettledBefore(store.wall_ms() - DAY_S * 1000, kept)


def noted(store: Store, part: str) -> dict[str, Any]:
    return store.row("trade_mq_forgotten", part=part)


def forget(store: Store, *event_ids: int) -> None:
    """Have the goods service forget events that no outbox has."""
    store.run(forgetting.forget_handled, Gone("goods", event_ids))


def test_a_sender_forgets_what_was_settled_long_ago(order: Store) -> None:
    """And no sooner; it notes how much went, and up to which id."""
    first = settled(order, 1, 2)
    order.wait(DAY_S + 60)
    later = [event_id for event_id in settled(order, 3) if event_id not in first]
    assert order.run(forgetting.find_settled, old(order)) == first
    order.run(forgetting.forget_settled, first)
    assert [row["event_id"] for row in order.rows(OUT)] == later
    assert noted(order, OUTBOX) == {
        "part": OUTBOX,
        "last_event": max(first),
        "horizon": max(first),
        "rounds": 1,
        "messages": 2,
    }


@pytest.mark.parametrize("status", [UNSENT, SENT, GIVEN_UP])
def test_a_sender_never_forgets_what_is_not_settled(order: Store, status: int) -> None:
    """However old it is, and though somebody asks for it by its id."""
    (event_id,) = emit(order) if status == UNSENT else sent(order)
    if status == GIVEN_UP:
        order.run(dead_letters.give_up, StuckItem(number=event_id, outbox=True))
    assert order.row(OUT)["status"] == status
    order.wait(1000 * DAY_S)
    before = order.everything()
    assert order.run(forgetting.find_settled, old(order)) == []
    order.run(forgetting.forget_settled, [event_id])
    assert order.everything() == before


def test_dead_letters_are_kept(order: Store) -> None:
    """They tell of a row that stays as well."""
    settled(order)
    order.wait(2 * DAY_S)
    assert order.run(forgetting.find_settled, old(order, kept="order_cancel")) == []


def test_a_group_forgets_what_it_has_handled_and_nothing_else(goods: Store) -> None:
    """What waits there, or is dead, may still be asked for."""
    goods.run(FIRST, delivery(1))
    fail(goods, delivery(2, POISON))
    goods.run(FIRST, delivery(3))
    assert goods.run(forgetting.find_done, DoneBetween("goods", 0, 9)) == [
        Told(1, "order_cancel"),
        Told(3, "order_cancel"),
    ]
    assert goods.run(forgetting.find_done, DoneBetween("goods", 1, 3)) == []
    forget(goods, 1, 2)
    assert [row["event_id"] for row in goods.rows(IN)] == [2, 3]
    assert noted(goods, INBOX)["messages"] == 1


def test_the_horizon_is_above_every_id_that_went(goods: Store) -> None:
    """A clock that was ahead may have made the id of a payment that is higher than the event's."""
    ahead = 1 << 61
    paid = OrderPaid(order_id=1001, user_id=1, pay_id=ahead, pay_amount=5)
    told = delivery(1, body=paid.model_dump_json())
    goods.run(inbox.guarded(_ignore, OrderPaid), told)
    forget(goods, 1)
    assert (noted(goods, INBOX)["horizon"], noted(goods, INBOX)["last_event"]) == (ahead, 1)


@step()
def _ignore(_tx: Any, _event: OrderPaid) -> None:
    """A handler that does nothing."""


def test_a_forgotten_event_that_comes_again_is_not_handled(goods: Store) -> None:
    """Its row is gone, and still nothing happens: neither by the handler nor by its failure."""
    goods.run(FIRST, delivery(5))
    forget(goods, 5)
    before = goods.everything()
    with pytest.raises(MaybeForgotten) as doubt:
        goods.run(FIRST, delivery(5))
    assert (doubt.value.event_id, doubt.value.rounds) == (5, 1)
    with pytest.raises(MaybeForgotten):
        goods.run(inbox.keep_failure, Failure(delivery=delivery(5), error="ValueError: no"))
    assert goods.everything() == before


def test_a_newer_event_is_handled_at_once(goods: Store) -> None:
    """Nobody is asked about it."""
    goods.run(FIRST, delivery(5))
    forget(goods, 5)
    goods.run(FIRST, delivery(6))
    assert given_out(goods) == 2


def test_an_older_event_that_its_sender_holds_is_handled_once(goods: Store) -> None:
    """Its sender's clock was behind. Its row then tells the repetition, as ever."""
    goods.run(FIRST, delivery(5))
    forget(goods, 5)
    cleared = delivery(4).model_copy(update={"confirmed": 1})
    goods.run(FIRST, cleared)
    goods.run(FIRST, cleared)
    goods.run(FIRST, delivery(4))
    assert given_out(goods) == 2


def test_a_word_of_the_sender_ends_with_the_next_forgetting(goods: Store) -> None:
    """In between the event may have come to another instance, and been handled and forgotten."""
    goods.run(FIRST, delivery(5))
    forget(goods, 5)
    cleared = delivery(4).model_copy(update={"confirmed": 1})
    goods.run(FIRST, cleared)
    forget(goods, 4)
    with pytest.raises(MaybeForgotten):
        goods.run(FIRST, cleared)
    assert given_out(goods) == 2


def test_an_outbox_says_what_it_holds(order: Store) -> None:
    """Whatever has become of it."""
    ids = [*settled(order, 1), *sent(order, 2)]
    held = order.run(forgetting.find_held, HeldQuery(event_ids=(1, *ids)))
    assert set(held.event_ids) == set(ids)


class Outbox:
    """The admin service of a sender."""

    def __init__(self, *held: int, is_away: bool = False) -> None:
        self.held, self.is_away = held, is_away

    async def find_held(self, query: HeldQuery) -> Held:
        if self.is_away:
            raise Unknown("no answer")
        return Held(event_ids=tuple(set(query.event_ids) & set(self.held)))


class Runner:
    """The port `StepRunner` on the database of a test."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, step_: Any, command: Any) -> Any:
        return self._store.run(step_, command)


def retention(store: Store, *outboxes: Outbox, stranger: Outbox | None = None) -> Retention:
    """The retention of goods: these outboxes send what it hears, a stranger other things."""
    senders: Any = {f"sender {number}": each for number, each in enumerate(outboxes)}
    by_topic = {"order_cancel": tuple(senders)}
    settings = store.settings.model_copy(update={"message_retention": 1.0})
    asked = Senders({**senders, "stranger": stranger}, by_topic)
    clock: Any = _Clock(store)
    runner: Any = Runner(store)
    return Retention("goods", runner, asked, settings, clock)


@pytest.mark.parametrize(
    ("outboxes", "left"),
    [
        ([Outbox()], []),
        ([Outbox(), Outbox(8)], [8]),
        ([Outbox(8), Outbox(7)], [7, 8]),
        ([Outbox(), Outbox(is_away=True)], [7, 8]),
    ],
    ids=["nobody", "one", "each another", "one is away"],
)
def test_a_group_forgets_what_no_sender_holds(
    goods: Store, outboxes: list[Outbox], left: list[int]
) -> None:
    """One that does not answer may hold anything. Who never sends such a thing is not asked."""
    for event_id in (7, 8):
        goods.run(FIRST, delivery(event_id))
    try:
        asyncio.run(retention(goods, *outboxes, stranger=Outbox(is_away=True)).forget())
    except Unknown:
        assert any(each.is_away for each in outboxes)
    assert [row["event_id"] for row in goods.rows(IN)] == left


class _Clock:
    """The wall clock of a store."""

    def __init__(self, store: Store) -> None:
        self.wall_ms = store.wall_ms


def test_more_than_a_batch_is_forgotten_at_once(goods: Store) -> None:
    """Also behind a batch of events that are held."""
    number = forgetting.BATCH + 5
    for event_id in range(1, 2 * number + 1):
        goods.run(FIRST, _nth(event_id))
    asyncio.run(retention(goods, Outbox(*range(1, number + 1))).forget())
    assert [row["event_id"] for row in goods.rows(IN)] == list(range(1, number + 1))
    assert noted(goods, INBOX)["messages"] == number


def _nth(event_id: int) -> Delivery:
    return delivery(event_id, order_id=10_000 + event_id)


def test_no_statement_walks_over_a_whole_table(goods: Store) -> None:
    """What forgets is needed by who has many rows: each statement finds its own by an index."""
    goods.run(FIRST, delivery(5))
    seen: list[str] = []
    assert goods._kept
    raw: Any = goods._kept.connection.driver_connection
    raw.set_trace_callback(seen.append)
    goods.run(forgetting.find_settled, old(goods))
    goods.run(forgetting.forget_settled, [1, 2])
    goods.run(forgetting.find_done, DoneBetween("goods", 0, 9))
    goods.run(forgetting.find_held, HeldQuery(event_ids=(1, 2)))
    forget(goods, 5)
    raw.set_trace_callback(None)
    texts = [text for text in seen if text.startswith(("SELECT", "DELETE", "UPDATE"))]
    assert len(texts) == 9
    plans = {text: [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}")] for text in texts}
    assert all(plan[0].startswith("SEARCH") for plan in plans.values()), plans


def test_nothing_is_settled_by_forgetting(order: Store) -> None:
    """The status that a row must have is looked at again when it goes."""
    (event_id,) = settled(order)
    order.wait(2 * DAY_S)
    assert order.run(forgetting.find_settled, old(order)) == [event_id]
    assert order.row(OUT)["status"] == SETTLED
    order.run(forgetting.forget_settled, [event_id, event_id + 1])
    assert order.rows(OUT) == []
    assert noted(order, OUTBOX)["messages"] == 1
