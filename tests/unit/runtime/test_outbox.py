"""The outbox: an event leaves with its transaction, and its row stays until all have it."""

import json

import pytest

from labkit.runtime.db.tables import GIVEN_UP, SENT, SETTLED, UNSENT
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import dead_letters, outbox
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.outbox import Postpone, message_of
from labkit.runtime.steps import Event, step
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import GROUPS
from tests.support.outbox_events import ORDER, emit, ids_of, sent
from tests.support.store import NOON, OpenStore, Store, audited


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The order database, whose service emits."""
    return open_store("order")


@step()
def tell_of_nothing(tx: Transaction, _command: None) -> None:
    """Tell an event that stands in no wiring."""

    class Unheard(Event):
        topic = "unheard"

    tx.emit(Unheard(order_id=ORDER))


def test_an_event_leaves_with_its_transaction(store: Store) -> None:
    """Its row holds the body, the key of its order, and every group that must have it."""
    [event_id] = emit(store)
    row = store.row("trade_mq_producer")
    assert json.loads(row["body"]) == {"order_id": ORDER}
    assert (row["topic"], row["msg_key"]) == ("order_cancel", str(ORDER))
    assert row["groups"].split(",") == list(GROUPS["order_cancel"])
    assert (row["status"], row["tries"], row["add_time"]) == (UNSENT, 0, NOON)
    assert event_id > 0


def test_an_event_of_a_failed_transaction_never_was(store: Store) -> None:
    """An event for nobody in the wiring is a defect: it raises, and nothing stays."""
    with pytest.raises(KeyError):
        store.run(tell_of_nothing, None)
    assert store.rows("trade_mq_producer") == []


def test_events_of_one_transaction_have_ids_of_their_own(store: Store) -> None:
    """Two events told together are two rows, in the order in which they were told."""
    first, second = emit(store, ORDER, ORDER)
    assert first < second


def test_what_is_handed_over_is_what_is_stored(store: Store) -> None:
    """The message that leaves right after the commit equals the one that is read back later."""
    [event_id] = emit(store)
    handed = message_of(event_id, OrderCancelled(order_id=ORDER), GROUPS["order_cancel"])
    store.wait(60)
    assert store.run(outbox.claim_unsent, None) == [handed]


def test_unsent_rows_are_taken_over_when_their_lease_is_over(store: Store) -> None:
    """Its writer has it first; then one other takes it, and nobody else while that one has it."""
    ids = emit(store)
    assert store.run(outbox.claim_unsent, None) == []
    store.wait(store.settings.outbox_lease)
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids
    assert store.run(outbox.claim_unsent, None) == []
    store.wait(store.settings.outbox_lease)
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids


def test_a_sent_row_is_audited_a_little_later(store: Store) -> None:
    """Acknowledged, it is not sent again, and comes up for the audit after its delay."""
    ids = sent(store)
    assert store.run(outbox.claim_unsettled, None) == []
    store.wait(max(store.settings.audit_delay, store.settings.outbox_lease))
    assert store.run(outbox.claim_unsent, None) == []
    assert ids_of(store.run(outbox.claim_unsettled, None)) == ids
    assert store.run(outbox.claim_unsettled, None) == []


def lacking(ids: list[int]) -> outbox.MissingFrom:
    """Return what is said of events that two groups have not."""
    return outbox.MissingFrom(event_ids=tuple(ids), groups=("goods", "user"))


def test_a_settled_row_is_at_its_end(store: Store) -> None:
    """When every group has it, nobody sends, audits, loses or hurries it any more."""
    ids = sent(store)
    store.run(outbox.mark_settled, audited(store, *ids))
    before = store.everything()
    assert before["trade_mq_producer"][0]["status"] == SETTLED

    store.wait(3600)
    store.run(outbox.mark_sent, ids)
    store.run(outbox.mark_settled, audited(store, *ids))
    store.run(outbox.mark_missing, lacking(ids))
    store.run(outbox.postpone, Postpone(event_ids=tuple(ids), status=SENT, error="x", delay=1))
    assert store.run(outbox.claim_unsent, None) == store.run(outbox.claim_unsettled, None) == []
    assert store.run(outbox.hurry, ids[0]) is False
    assert store.everything() == before


def test_an_unsent_row_cannot_be_settled(store: Store) -> None:
    """Only what the broker had can be at its end: a late audit does not settle what was resent."""
    ids = emit(store)
    store.run(outbox.mark_settled, audited(store, *ids))
    assert store.row("trade_mq_producer")["status"] == UNSENT


def test_what_a_group_has_another_message_for_is_given_up(store: Store) -> None:
    """Sending it again is of no use: it is a dead letter, says why, and can be taken back."""
    first, second = sent(store, 1, 2)
    store.run(
        outbox.mark_missing, outbox.MissingFrom(event_ids=(first,), foreign=("goods", "user"))
    )
    row = store.row("trade_mq_producer", event_id=first)
    assert row["status"] == GIVEN_UP
    assert "another message has this id in goods, user" in row["last_error"]
    assert store.row("trade_mq_producer", event_id=second)["status"] == SENT
    assert store.run(dead_letters.take_back, StuckItem(number=first, outbox=True)).success
    assert ids_of(store.run(outbox.claim_unsent, None)) == [first]


def test_what_another_group_lacks_still_is_sent_again(store: Store) -> None:
    """One group has another message under its id, and one has none: that one must have it."""
    ids = sent(store)
    mixed = outbox.MissingFrom(event_ids=tuple(ids), groups=("user",), foreign=("goods",))
    store.run(outbox.mark_missing, mixed)
    store.wait(60)
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids


def test_what_the_broker_lost_is_sent_again_now(store: Store) -> None:
    """Groups lack it: the row is unsent and due at once, and says why and which."""
    ids = sent(store, 1, 2)
    store.run(outbox.mark_missing, lacking(ids[:1]))
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids[:1]
    lost = store.row("trade_mq_producer", event_id=ids[0])
    assert lost["status"] == UNSENT
    assert lost["last_error"] == "not in goods, user: lost by the broker, or not read yet"
    assert store.row("trade_mq_producer", event_id=ids[1])["status"] == SENT


def test_what_a_group_lacks_is_told_until_it_has_it(store: Store) -> None:
    """Sent again and again to a group that does not take it, a row never looks as if all was well:
    the cause stays over each sending, and goes when the row is settled."""
    ids = sent(store)
    for _ in range(3):
        store.run(outbox.mark_missing, lacking(ids))
        store.run(outbox.mark_sent, ids)
        assert "not read yet" in store.row("trade_mq_producer")["last_error"]
    store.run(outbox.mark_settled, audited(store, *ids))
    assert store.row("trade_mq_producer")["last_error"] is None


@step()
def delay_of_the_next(tx: Transaction, event_id: int) -> int:
    """How long until an event is due, in milliseconds."""
    row = tx.execute(outbox.outbox.select().where(outbox.outbox.c.event_id == event_id)).one()
    return int(row.next_try) - tx.wall_ms


def test_what_is_sent_again_in_vain_is_sent_ever_more_seldom(store: Store) -> None:
    """For ten times it is put off as ever, then twice as far each time, up to a minute."""
    [event_id] = sent(store)
    delays = []
    for _ in range(15):
        store.run(outbox.mark_missing, lacking([event_id]))
        store.run(outbox.mark_sent, [event_id])
        delays.append(store.run(delay_of_the_next, event_id) / 1000 / store.settings.audit_delay)
    assert delays[:9] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    for delay, most in zip(delays[9:], (20, 40, 60, 60, 60, 60), strict=True):
        assert most / 2 - 0.1 <= delay <= most
    assert len(set(delays[11:])) > 1  # not all at the same time


def test_what_is_lost_after_an_outage_is_asked_for_soon(store: Store) -> None:
    """A group was away for long, and then lacks an event: it does not pay for the outage."""
    [event_id] = sent(store)
    away = Postpone(event_ids=(event_id,), status=SENT, error="goods gave no answer", delay=1)
    for _ in range(30):
        store.run(outbox.postpone, away)
    store.run(outbox.mark_missing, lacking([event_id]))
    store.run(outbox.mark_sent, [event_id])
    assert store.run(delay_of_the_next, event_id) == 2_000 * store.settings.audit_delay


def test_a_failed_send_waits_and_says_why(store: Store) -> None:
    """It counts the try, keeps the cause, and comes again after the delay; then all is forgiven."""
    ids = emit(store)
    failed = Postpone(event_ids=tuple(ids), status=UNSENT, error="broker away", delay=5)
    store.run(outbox.postpone, failed)
    row = store.row("trade_mq_producer")
    assert (row["tries"], row["last_error"]) == (1, "broker away")
    store.wait(4)
    assert store.run(outbox.claim_unsent, None) == []
    store.wait(1)
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids
    store.run(outbox.mark_sent, ids)
    assert store.row("trade_mq_producer")["last_error"] is None


def test_a_late_failure_does_not_take_back_what_was_sent(store: Store) -> None:
    """Postponing a send does nothing to a row that was acknowledged meanwhile."""
    ids = sent(store)
    before = store.everything()
    late = Postpone(event_ids=tuple(ids), status=UNSENT, error="timeout", delay=5)
    store.run(outbox.postpone, late)
    assert store.everything() == before


def test_a_row_can_be_hurried_by_hand(store: Store) -> None:
    """A waiting row is due now; an unknown one is not there."""
    ids = emit(store)
    assert store.run(outbox.hurry, ids[0]) is True
    assert ids_of(store.run(outbox.claim_unsent, None)) == ids
    assert store.run(outbox.hurry, 1) is False


def test_no_row_is_left_out_for_ever(store: Store) -> None:
    """More rows than a batch are all taken, batch by batch."""
    ids = emit(store, *range(1, 251))
    store.wait(60)
    claimed = list[int]()
    while messages := store.run(outbox.claim_unsent, None):
        assert len(messages) <= 100
        claimed += ids_of(messages)
    assert sorted(claimed) == ids
    assert len(claimed) == 250


def test_rows_that_fail_again_and_again_do_not_fill_the_batch(store: Store) -> None:
    """The row that waits longest comes first, though a hundred failing ones are older."""
    *failing, healthy = emit(store, *range(1, 102))
    failed = Postpone(event_ids=tuple(failing), status=UNSENT, error="x", delay=5)
    store.run(outbox.postpone, failed)
    store.wait(60)
    assert ids_of(store.run(outbox.claim_unsent, None))[0] == healthy


def test_a_dead_letter_waits_for_nobody() -> None:
    """No group must have a dead letter: it is settled when the broker has it."""
    assert GROUPS[DeadLetter.topic] == ()
