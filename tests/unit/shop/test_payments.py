"""One payment's life in the pay database: opened, paid or closed, refunded; each once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.payment_api.trade_status import TradeStatus
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.shop.pay import steps
from labkit.shop.states import PaymentState, RefundState
from tests.support import paying as s
from tests.support.paying import AMOUNT, ORDER, TRADE, payment
from tests.support.store import NOON, OpenStore, Store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The pay database."""
    return open_store("pay")


def test_a_payment_is_opened_unpaid(store: Store) -> None:
    """It is saved with its order, its amount and its first check, and told to nobody."""
    row = payment(store, s.opened(store))
    assert (row["order_id"], row["pay_amount"], row["is_paid"]) == (
        ORDER,
        AMOUNT,
        PaymentState.OPEN,
    )
    assert (row["open_order_id"], row["add_time"], row["trade_no"]) == (ORDER, NOON, None)
    assert row["next_check"] == store.wall_ms() + store.settings.check_first * 1000
    assert store.emitted() == []


def test_an_order_has_one_open_payment(store: Store) -> None:
    """Asked again it is the same one; another order has another."""
    first = s.opened(store)
    before = store.everything()
    assert s.opened(store) == first
    assert store.everything() == before
    assert s.opened(store, ORDER + 1) != first


def test_a_payment_is_paid_and_told_once(store: Store) -> None:
    """Paid: row, operation and message are there together; a second callback changes nothing."""
    pay_id = s.paid(store)
    row = payment(store, pay_id)
    assert (row["is_paid"], row["trade_no"], row["pay_time"]) == (PaymentState.PAID, TRADE, NOON)
    assert (row["open_order_id"], row["next_check"]) == (None, None)
    assert store.outcome("accept_payment", ORDER) == ("applied", AMOUNT)
    assert store.emitted() == [("paid", str(ORDER))]

    before = store.everything()
    assert s.take(store, pay_id).success
    assert store.everything() == before


@pytest.mark.parametrize("cents", [0, 1, AMOUNT - 1, AMOUNT + 1, 100 * AMOUNT, -AMOUNT])
@pytest.mark.parametrize(
    "status", [TradeStatus.TRADE_SUCCESS, TradeStatus.TRADE_CLOSED, TradeStatus.WAIT_BUYER_PAY]
)
def test_another_amount_is_refused(store: Store, cents: int, status: str) -> None:
    """A payment that was not asked for is not taken, whatever is said; nothing is written."""
    pay_id = s.opened(store)
    before = store.everything()
    assert s.take(store, pay_id, status, total_amount=cents).code == Code.PAYMENT_ERROR
    assert store.everything() == before
    assert s.take(store, pay_id).success


def test_another_trade_is_refused(store: Store) -> None:
    """A payment keeps the number of its trade: another trade cannot pay for it."""
    pay_id = s.opened(store)
    trade = p.TradeFound(pay_id=pay_id, trade_no=TRADE, trade_status=TradeStatus.WAIT_BUYER_PAY)
    store.run(steps.note_trade, trade)
    before = store.everything()
    assert s.take(store, pay_id, trade_no=TRADE + "0").code == Code.PAYMENT_ERROR
    assert store.everything() == before


def test_a_finished_trade_is_a_paid_one(store: Store) -> None:
    """Past the time of refunds the platform says so of what was paid, heard of before or not."""
    pay_id = s.paid(store)
    before = store.everything()
    assert s.take(store, pay_id, TradeStatus.TRADE_FINISHED).success
    assert store.everything() == before
    other = s.opened(store, ORDER + 1)
    assert s.take(store, other, TradeStatus.TRADE_FINISHED).success
    assert payment(store, other)["is_paid"] == PaymentState.PAID


@pytest.mark.parametrize("status", ["", "trade_success", "NONSENSE"])
def test_a_state_that_nobody_knows_is_refused(store: Store, status: str) -> None:
    """It is not passed over as if it were understood: the platform must tell it again."""
    pay_id = s.opened(store)
    before = store.everything()
    assert s.take(store, pay_id, status).code == Code.PAYMENT_ERROR
    assert store.everything() == before


def test_an_unknown_payment_is_refused(store: Store) -> None:
    """Nothing is saved about a payment that was never opened here."""
    before = store.everything()
    assert s.take(store, 4711).code == Code.PAYMENT_NOT_FOUND
    assert store.everything() == before


def test_a_trade_that_waits_changes_nothing(store: Store) -> None:
    """That the buyer has not paid yet is no news."""
    pay_id = s.opened(store)
    before = store.everything()
    assert s.take(store, pay_id, TradeStatus.WAIT_BUYER_PAY).success
    assert store.everything() == before


def test_given_up_it_may_be_paid_anew(store: Store) -> None:
    """A trade that the platform closed closes the payment, and the order gets another one."""
    pay_id = s.opened(store)
    assert s.take(store, pay_id, TradeStatus.TRADE_CLOSED).success
    row = payment(store, pay_id)
    assert (row["is_paid"], row["close_time"], row["open_order_id"]) == (
        PaymentState.CLOSED,
        NOON,
        None,
    )
    assert row["next_check"] is None
    again = s.opened(store)
    assert again != pay_id
    assert s.take(store, again).success
    assert store.emitted() == [("paid", str(ORDER))]


def test_a_paid_order_gets_no_second_payment(store: Store) -> None:
    """Asked to open one, it says that the order is paid."""
    s.paid(store)
    command = p.OpenPayment(order_id=ORDER, user_id=1, pay_amount=AMOUNT)
    assert store.run(steps.open_payment, command).code == Code.PAYMENT_ALREADY_PAID


MOVES = ("open", "success", "closed", "waiting", "cancelled", "returned", "refund answer")


@given(moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 2)), max_size=14))
def test_any_order_of_moves(open_store: OpenStore, moves: list[tuple[str, int]]) -> None:
    """However they meet and repeat: an order is told paid at most once and by one payment; money
    that came stands for an order that has not ended, or has one refund; nothing else has."""
    store = open_store("pay")
    opened: list[int] = []
    for move, which in moves:
        _make(store, move, which, opened)
    ended = bool({"cancelled", "returned"} & {move for move, _ in moves})
    paid = {row["pay_id"] for row in store.rows("trade_pay", is_paid=PaymentState.PAID)}
    refunds = store.rows("trade_refund")
    back = {row["pay_id"] for row in refunds}
    assert len(refunds) == len(back)
    assert back <= paid
    standing = paid - back
    assert len(standing) == (0 if ended else min(len(paid), 1))
    topics = [topic for topic, _ in store.emitted()]
    assert topics.count("paid") <= 1
    assert topics.count("refunded") == len(store.rows("trade_refund", state=RefundState.REFUNDED))
    assert len([row for row in store.rows("trade_pay") if row["open_order_id"]]) <= 1


def _make(store: Store, move: str, which: int, opened: list[int]) -> None:
    if move == "open":
        command = p.OpenPayment(order_id=ORDER, user_id=1, pay_amount=AMOUNT)
        answer: Any = store.run(steps.open_payment, command)
        if answer.data and answer.data.pay_id not in opened:
            opened.append(answer.data.pay_id)
    elif move in ("cancelled", "returned"):
        s.end(store, event=m.OrderCancelled if move == "cancelled" else m.OrderReturned)
    elif move == "refund answer":
        for row in store.rows("trade_refund")[which : which + 1]:
            store.run(steps.finish_refund, s.answered(row))
    elif opened:
        status = {
            "success": TradeStatus.TRADE_SUCCESS,
            "closed": TradeStatus.TRADE_CLOSED,
            "waiting": TradeStatus.WAIT_BUYER_PAY,
        }[move]
        pay_id = opened[which % len(opened)]
        assert s.take(store, pay_id, status, trade_no=str(pay_id)).success
