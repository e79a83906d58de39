"""Dead letters by hand: given up with their cause, taken back, and still handled once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime.db.tables import DEAD, DONE, GIVEN_UP, SENT, SETTLED, UNSENT, WAITING
from labkit.runtime.messaging import dead_letters, due, inbox, outbox
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.messaging.outbox import Postpone
from labkit.shop.codes import Code
from labkit.shop.messages import OrderCancelled
from labkit.shop.pay import manual, retries
from labkit.shop.pay import steps as payments
from labkit.shop.pay.messages import DueQuery
from labkit.shop.states import RefundState
from tests.support import paying
from tests.support.grouping import Mark, tell
from tests.support.store import OpenStore, Store, audited
from tests.unit.runtime.test_inbox import AGAIN, BY_HAND, FIRST, delivery, fail, given_out

INBOX, OUTBOX = "trade_mq_consumer_log", "trade_mq_producer"
ONE = StuckItem(number=1)
CAUSE = "ZeroDivisionError: poison"
DUE = DueQuery(limit=10)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The goods database."""
    return open_store("goods")


def status(store: Store) -> int:
    return store.row(INBOX)["status"]


def test_what_is_given_up_is_a_dead_letter_with_its_cause(store: Store) -> None:
    """The row is dead, is never due, keeps why it had failed, and one dead letter tells of it."""
    fail(store, delivery())
    assert store.run(dead_letters.give_up, ONE).success
    store.wait(3600)

    row = store.row(INBOX)
    assert (row["status"], row["last_error"]) == (DEAD, f"given up by hand: {CAUSE}")
    assert store.run(due.find_due, None).deliveries == []
    sent = store.row(OUTBOX)
    letter = json.loads(sent["body"])
    assert (sent["topic"], letter["group"], letter["event_id"]) == ("dead_letter", "goods", 1)
    assert (letter["source"], letter["body"]) == ("order_cancel", delivery().body)
    assert letter["error"] == row["last_error"]


def test_what_is_taken_back_is_due_now_with_all_its_tries(store: Store) -> None:
    """After its last try, too: it waits as if it had come now, and is done, once."""
    for _ in range(store.settings.retry_limit):
        fail(store, delivery())
    assert status(store) == DEAD
    assert store.run(dead_letters.take_back, ONE).success

    row = store.row(INBOX)
    assert (row["status"], row["tries"], row["last_error"]) == (WAITING, 0, CAUSE)
    assert store.run(due.find_due, None).deliveries == [delivery(tries=0)]
    assert fail(store, delivery())["status"] == WAITING
    for again in (AGAIN, AGAIN, FIRST, BY_HAND):
        store.run(again, delivery())
    assert (status(store), given_out(store)) == (DONE, 1)


@pytest.mark.parametrize(
    "verb", [dead_letters.give_up, dead_letters.take_back], ids=lambda verb: verb.name
)
def test_asked_twice_the_second_changes_nothing(store: Store, verb: Any) -> None:
    """A person who presses twice, or whose first answer was lost, is told the same."""
    fail(store, delivery())
    if verb is dead_letters.take_back:
        store.run(dead_letters.give_up, ONE)
    first, before = store.run(verb, ONE), store.everything()
    store.wait(1)
    assert store.run(verb, ONE) == first
    assert store.everything() == before


@pytest.mark.parametrize(
    "verb", [dead_letters.give_up, dead_letters.take_back], ids=lambda verb: verb.name
)
def test_what_is_done_or_unknown_is_left_alone(store: Store, verb: Any) -> None:
    """Neither can undo what was handled, nor make up a row of what never came."""
    store.run(FIRST, delivery())
    before = store.everything()
    done, unknown = store.run(verb, ONE), store.run(verb, StuckItem(number=2))
    assert (done.code, unknown.code) == (Code.BAD_REQUEST, Code.BAD_REQUEST)
    assert "done already" in done.message
    assert "not here" in unknown.message
    assert store.everything() == before


def test_the_cause_does_not_grow(store: Store) -> None:
    """Given up, taken back and given up again, it says once that a person did it."""
    fail(store, delivery())
    for _ in range(3):
        store.run(dead_letters.give_up, ONE)
        store.run(dead_letters.take_back, ONE)
    assert store.row(INBOX)["last_error"] == f"given up by hand: {CAUSE}"


def test_a_try_that_is_on_its_way_cannot_wake_what_was_given_up(store: Store) -> None:
    """It neither handles the event nor has it wait again, whether it works or fails."""
    fail(store, delivery())
    store.run(dead_letters.give_up, ONE)
    store.run(AGAIN, delivery())
    store.run(FIRST, delivery())
    fail(store, delivery())
    assert (status(store), given_out(store)) == (DEAD, 0)
    assert store.row(INBOX)["last_error"] == f"given up by hand: {CAUSE}"


@given(
    st.lists(
        st.sampled_from(["first", "again", "by_hand", "fail", "give_up", "take_back"]), max_size=20
    )
)
def test_whatever_a_person_presses_it_is_handled_once(
    open_store: OpenStore, pressed: list[str]
) -> None:
    """Deliveries, tries and a person's buttons in any order: done is handled once, else never."""
    store = open_store("goods")
    steps = {"first": FIRST, "again": AGAIN, "by_hand": BY_HAND}
    for item in pressed:
        if item in steps:
            store.run(steps[item], delivery())
        elif item == "fail":
            store.run(inbox.keep_failure, Failure(delivery=delivery(), error=CAUSE))
        else:
            store.run(getattr(dead_letters, item), ONE)
    done = bool(store.rows(INBOX, status=DONE))
    assert given_out(store) == done


def stuck_item(store: Store) -> StuckItem:
    """An event in the outbox, unsent."""
    store.run(tell, Mark(order_id=1001))
    return StuckItem(number=store.row(OUTBOX)["event_id"], outbox=True)


@pytest.mark.parametrize("was", [UNSENT, SENT])
def test_an_event_that_nobody_takes_is_given_up_and_taken_back(store: Store, was: int) -> None:
    """Unsent or unsettled, it is claimed by nobody until it is taken back; then it is sent."""
    thing = stuck_item(store)
    if was == SENT:
        store.run(outbox.mark_sent, [thing.number])
    failed = Postpone(event_ids=(thing.number,), status=was, error="too large", delay=1)
    store.run(outbox.postpone, failed)
    assert store.run(dead_letters.give_up, thing).success
    store.wait(3600)
    row = store.row(OUTBOX)
    assert (row["status"], row["last_error"]) == (GIVEN_UP, "given up by hand: too large")
    assert store.run(outbox.find_next_try, None) is None
    for claim in (outbox.claim_unsent, outbox.claim_unsettled):
        assert store.run(claim, None) == []
    store.run(outbox.mark_sent, [thing.number])  # of a try that was on its way
    store.run(outbox.mark_settled, audited(store, thing.number))
    assert store.row(OUTBOX)["status"] == GIVEN_UP

    assert store.run(dead_letters.take_back, thing).success
    assert [message.event_id for message in store.run(outbox.claim_unsent, None)] == [thing.number]
    assert store.row(OUTBOX)["tries"] == 0


def test_a_retry_by_hand_takes_an_event_back_too(store: Store) -> None:
    """Retry sends an event that was given up in an outbox at once."""
    thing = stuck_item(store)
    store.run(dead_letters.give_up, thing)
    assert store.run(outbox.hurry, thing.number) is True
    assert [message.event_id for message in store.run(outbox.claim_unsent, None)] == [thing.number]


def test_a_settled_event_is_left_alone(store: Store) -> None:
    """An event that every group has cannot be given up any more."""
    thing = stuck_item(store)
    store.run(outbox.mark_sent, [thing.number])
    store.run(outbox.mark_settled, audited(store, thing.number))
    for verb in (dead_letters.give_up, dead_letters.take_back):
        assert store.run(verb, thing).code == Code.BAD_REQUEST
    assert store.row(OUTBOX)["status"] == SETTLED


def test_inbox_and_outbox_of_one_service_are_two_things(open_store: OpenStore) -> None:
    """The order service hears its own events: giving up one way leaves the other as it is."""
    store = open_store("goods")
    thing = stuck_item(store)
    mine = Delivery(
        group="goods",
        event_id=thing.number,
        topic="order_cancel",
        tag="cancelled",
        key="1001",
        body=OrderCancelled(order_id=1001).model_dump_json(),
    )
    fail(store, mine)
    assert store.run(dead_letters.give_up, StuckItem(number=thing.number)).success
    assert store.row(OUTBOX, event_id=thing.number)["status"] == UNSENT
    assert store.row(INBOX)["status"] == DEAD


def test_a_refund_is_given_up_and_taken_back(open_store: OpenStore) -> None:
    """Nobody sends it until it is taken back; the money is not forgotten, and goes back once."""
    store = open_store("pay")
    refund = paying.refunding(store)
    thing = StuckItem(number=refund["refund_id"])
    assert store.run(manual.give_up_payment, thing).success
    store.wait(3600)
    assert store.run(retries.find_due_refunds, DUE) == []
    row = store.row("trade_refund")
    assert (row["state"], row["last_error"]) == (RefundState.GIVEN_UP, "given up by hand")

    assert store.run(manual.take_back_payment, thing).success
    assert store.run(retries.find_due_refunds, DUE) == [thing.number]
    assert store.row("trade_refund")["state"] == RefundState.OPEN


def test_a_refund_that_was_made_after_all_is_made(open_store: OpenStore) -> None:
    """Given up while the platform was doing it: its answer is taken, and told once."""
    store = open_store("pay")
    refund = paying.refunding(store)
    store.run(manual.give_up_payment, StuckItem(number=refund["refund_id"]))
    for _ in range(2):
        store.run(payments.finish_refund, paying.answered(refund))
    assert store.row("trade_refund")["state"] == RefundState.REFUNDED
    assert [topic for topic, _ in store.emitted()].count("refunded") == 1


def test_a_payment_is_given_up_and_taken_back(open_store: OpenStore) -> None:
    """The platform is asked about it no more, then again; a callback meanwhile is taken."""
    store = open_store("pay")
    thing = StuckItem(number=paying.opened(store))
    assert store.run(manual.give_up_payment, thing).success
    store.wait(3600)
    assert store.run(retries.find_due_checks, DUE) == []
    assert store.row("trade_pay")["last_error"] == "given up by hand"
    assert store.run(manual.take_back_payment, thing).success
    assert store.run(retries.find_due_checks, DUE) == [thing.number]

    store.run(manual.give_up_payment, thing)
    store.run(payments.take_payment, paying.seen(thing.number))
    row = store.row("trade_pay")
    assert (row["is_paid"], row["last_error"], row["next_check"]) == (1, None, None)
    for verb in (manual.give_up_payment, manual.take_back_payment):
        assert store.run(verb, thing).code == Code.BAD_REQUEST
