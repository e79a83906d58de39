"""Payments of orders that have ended, or were paid already: closed, or refunded once."""

import pytest

from labkit.payment_api.trade_status import TradeStatus
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.shop.pay import steps
from labkit.shop.states import PaymentState, RefundState
from tests.support import paying as s
from tests.support.paying import AMOUNT, ORDER, accepted, payment
from tests.support.store import NOON, OpenStore, Store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The pay database."""
    return open_store("pay")


def test_a_second_payment_of_an_order_goes_back(store: Store) -> None:
    """Where two payments of an order were paid, the first pays for it, the second is refunded."""
    first = s.opened(store)
    s.take(store, first, TradeStatus.TRADE_CLOSED)
    second = s.opened(store)
    assert s.take(store, second).success
    assert s.take(store, first).success  # the platform took it after all

    assert [payment(store, pay_id)["is_paid"] for pay_id in (first, second)] == [
        PaymentState.PAID,
        PaymentState.PAID,
    ]
    assert store.emitted() == [("paid", str(ORDER))]
    refund = store.row("trade_refund")
    assert (refund["pay_id"], refund["amount"], refund["state"]) == (
        first,
        AMOUNT,
        RefundState.OPEN,
    )

    s.end(store, event=m.OrderReturned)  # and now the order itself goes back
    assert [row["pay_id"] for row in store.rows("trade_refund")] == [first, second]


@pytest.mark.parametrize("event", [m.OrderCancelled, m.OrderReturned])
def test_an_ended_order_cannot_be_paid(store: Store, event: type[m.Event]) -> None:
    """The message that came first leaves a mark: no payment is opened for the order any more."""
    s.end(store, event=event)
    assert accepted(store) == "blocked"
    command = p.OpenPayment(order_id=ORDER, user_id=1, pay_amount=AMOUNT)
    assert store.run(steps.open_payment, command).code == Code.ORDER_NOT_PAYABLE
    assert store.rows("trade_pay") == []


def test_an_ended_order_closes_its_open_payment(store: Store) -> None:
    """It is closed here, and the platform is to be asked to close it at once."""
    pay_id = s.opened(store)
    s.end(store)
    row = payment(store, pay_id)
    assert (row["is_paid"], row["close_time"], row["open_order_id"]) == (
        PaymentState.CLOSED,
        NOON,
        None,
    )
    assert row["next_check"] == store.wall_ms()
    assert store.rows("trade_refund") == []


def test_money_that_comes_after_the_end_goes_back(store: Store) -> None:
    """A payment that meets a cancelled order is paid and refunded, and never told as paid."""
    pay_id = s.opened(store)
    s.end(store)
    assert s.take(store, pay_id).success
    assert s.take(store, pay_id).success
    assert payment(store, pay_id)["is_paid"] == PaymentState.PAID
    refund = store.row("trade_refund")
    assert (refund["pay_id"], refund["order_id"], refund["amount"]) == (pay_id, ORDER, AMOUNT)
    assert (accepted(store), store.emitted()) == ("blocked", [])


def test_money_that_came_before_the_end_goes_back(store: Store) -> None:
    """The payment that stands is refunded when its order ends, once, however often that is told."""
    refund = s.refunding(store)
    assert (refund["amount"], refund["next_try"]) == (AMOUNT, store.wall_ms())
    before = store.everything()
    s.end(store)
    s.end(store, event=m.OrderReturned)
    assert store.everything() == before
    assert accepted(store) == "undone"


def test_the_end_of_another_order_touches_nothing(store: Store) -> None:
    """A payment belongs to one order."""
    s.paid(store)
    before = store.business()
    s.end(store, ORDER + 1)
    assert store.business() == before


def test_a_refund_is_told_once_the_platform_has_answered(store: Store) -> None:
    """Not before, and once; the message names payment, refund and amount."""
    refund = s.refunding(store)
    assert [topic for topic, _ in store.emitted()] == ["paid"]
    for _ in range(2):
        store.run(steps.finish_refund, s.answered(refund))
        store.wait(60)
    row = store.row("trade_refund")
    assert (row["state"], row["refund_time"]) == (RefundState.REFUNDED, NOON)
    assert store.emitted() == [("paid", str(ORDER)), ("refunded", str(ORDER))]
    event = m.OrderRefunded.model_validate_json(store.rows("trade_mq_producer")[1]["body"])
    assert (event.pay_id, event.refund_id, event.amount) == (
        refund["pay_id"],
        refund["refund_id"],
        AMOUNT,
    )


def test_a_payment_is_found_with_its_refund(store: Store) -> None:
    """The user sees state, amounts, times, and whether the money is back."""
    refund = s.refunding(store)
    query = p.FindPayment(pay_id=refund["pay_id"])
    payment_ = store.run(steps.find_payment, query).data
    assert (payment_.order_id, payment_.pay_amount, payment_.is_paid) == (
        ORDER,
        AMOUNT,
        PaymentState.PAID,
    )
    assert (payment_.refund_id, payment_.refund_time) == (refund["refund_id"], None)
    store.run(steps.finish_refund, s.answered(refund))
    assert store.run(steps.find_payment, query).data.refund_time == NOON
    assert store.run(steps.find_payment, p.FindPayment(pay_id=1)).code == Code.PAYMENT_NOT_FOUND
