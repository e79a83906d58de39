"""The inbox: each event is handled once; what fails is kept, tried again, and at last given up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime.db.tables import DEAD, DONE, WAITING
from labkit.runtime.messaging import due, inbox
from labkit.runtime.messaging.inbox import BodyChanged, Delivery, Missing, MissingQuery
from labkit.runtime.steps import Step
from labkit.shop.messages import OrderCancelled
from tests.support.inbox_events import (
    AGAIN,
    BY_HAND,
    FIRST,
    ORDER,
    POISON,
    TABLE,
    delivery,
    fail,
    given_out,
)
from tests.support.store import OpenStore, Store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The goods database."""
    return open_store("goods")


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
    assert store.run(due.find_due, None).deliveries == []
    store.wait(store.settings.retry_first)
    assert store.run(due.find_due, None).deliveries == [delivery(tries=1)]


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
    assert store.run(due.find_due, None).deliveries == []
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
    batch = store.run(due.find_due, None)
    assert batch.deliveries[0] == delivery(101, tries=1)
    assert batch.next_ms == store.wall_ms(), "one of them is due, and was not found yet"


def test_the_next_row_is_named_before_it_is_due(store: Store) -> None:
    """So that nobody looks in vain until then."""
    assert store.run(due.find_due, None) == due.DueDeliveries([], None)
    row = fail(store, delivery())
    assert store.run(due.find_due, None) == due.DueDeliveries([], row["next_try"])


def test_instances_that_try_a_row_together_burn_one_try(store: Store) -> None:
    """Each finds it due, and each fails: else as many instances give it up as many times sooner."""
    fail(store, delivery(1))
    store.wait(60)
    batches = [store.run(due.find_due, None).deliveries for _ in range(3)]
    for [overdue] in batches:
        assert fail(store, overdue)["tries"] == 2


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
    nothing = MissingQuery(group="goods", fingerprints={})  # as a health check asks
    assert store.run(inbox.find_missing, nothing) == Missing()


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
