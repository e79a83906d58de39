"""The payment log: what came and what went back, each line once, in whatever order it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.shop import log
from labkit.shop.messages import OrderPaid, OrderRefunded
from labkit.shop.pay.messages import FindPayLog
from tests.support.store import NOON, OpenStore, Store

ORDER, PAYMENT = 1001, 2002


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The log database."""
    return open_store("log")


def paid(store: Store, pay_id: int = PAYMENT) -> None:
    event = OrderPaid(order_id=ORDER, user_id=1, pay_id=pay_id, pay_amount=12_34)
    store.run(log.log_payment, event)


def refunded(store: Store, pay_id: int = PAYMENT, amount: int = 12_34) -> None:
    event = OrderRefunded(order_id=ORDER, user_id=1, pay_id=pay_id, refund_id=3003, amount=amount)
    store.run(log.log_refund, event)


def lines(store: Store) -> list[tuple[int, str, int]]:
    log_lines = store.run(log.find_pay_log, FindPayLog(order_id=ORDER)).data.lines
    return [(line.pay_id, line.direction, line.amount) for line in log_lines]


def test_a_payment_is_logged_once(store: Store) -> None:
    """Told twice, one line, with its time."""
    paid(store)
    store.wait(60)
    paid(store)
    assert lines(store) == [(PAYMENT, "paid", 12_34)]
    assert store.row("trade_pay_log")["log_time"] == NOON


def test_what_went_back_is_what_came(store: Store) -> None:
    """The refund's line has the recorded amount, never the one of the message; told twice, once."""
    paid(store)
    refunded(store, amount=99_99)
    refunded(store)
    assert lines(store) == [(PAYMENT, "paid", 12_34), (PAYMENT, "refunded", 12_34)]


def test_a_refund_that_comes_first_leaves_no_line(store: Store) -> None:
    """Money that never came for the order did not go back: the late payment is refused."""
    refunded(store)
    paid(store)
    assert lines(store) == []


def test_the_log_of_another_order_is_empty(store: Store) -> None:
    """Lines belong to their order."""
    paid(store)
    assert store.run(log.find_pay_log, FindPayLog(order_id=1)).data.lines == ()


@given(messages=st.lists(st.tuples(st.booleans(), st.sampled_from([1, 2, 3])), max_size=10))
def test_any_order_of_messages(open_store: OpenStore, messages: list[tuple[bool, int]]) -> None:
    """However often and in whatever order they come: at most one line each way a payment, none
    back without one that came, and none of a payment whose refund was heard of first."""
    store = open_store("log")
    for came, pay_id in messages:
        (paid if came else refunded)(store, pay_id)
    for pay_id in (1, 2, 3):
        heard = [came for came, which in messages if which == pay_id]
        expected = ["paid"] if heard and heard[0] else []
        if expected and False in heard:
            expected.append("refunded")
        assert [line[1] for line in lines(store) if line[0] == pay_id] == expected
