"""The history check itself: it must see every kind of lie, or all that rests on it is worthless."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.lab import Lab
from tests.support.db import Tables
from tests.support.history import Answered, History

pytestmark = pytest.mark.slow

# what is spoilt → database, SQL, a word that the complaint must hold
SPOILT = {
    "an acknowledged order is gone": (
        "order",
        "DELETE FROM trade_order WHERE address LIKE '%#1'",
        "is placed",
    ),
    "a refused order is confirmed": (
        "order",
        "UPDATE trade_order SET confirm_time = add_time WHERE order_status = 2",
        "was refused with",
    ),
    "an order stays undecided": (
        "order",
        "UPDATE trade_order SET order_status = 0 WHERE order_status = 2",
        "in state 0",
    ),
    "a confirmed order is cancelled": (
        "order",
        "UPDATE trade_order SET order_status = 2 WHERE address LIKE '%#1'",
        "in state 2",
    ),
    "an order was confirmed twice": (
        "order",
        "UPDATE trade_order SET address = (SELECT min(address) FROM trade_order)",
        "several confirmed orders",
    ),
    "nobody asked for an order": (
        "order",
        "UPDATE trade_order SET address = 'x' WHERE order_status = 2",
        "no client asked",
    ),
    "another amount was saved": (
        "order",
        "UPDATE trade_order SET money_paid = 4 WHERE money_paid = 3",
        "money_paid is 4",
    ),
    "a cent too much is to be paid": (
        "order",
        "UPDATE trade_order SET pay_amount = pay_amount + 1",
        "left to pay",
    ),
    "stock was sold twice": (
        "goods",
        "UPDATE trade_goods SET goods_number = goods_number + 1",
        "stock is 997",
    ),
    "stock is gone": (
        "goods",
        "UPDATE trade_goods SET goods_number = goods_number - 1",
        "stock is 995",
    ),
    "stock was never taken": (
        "goods",
        "DELETE FROM trade_goods_number_log WHERE direction = 'deduct'",
        "should hold",
    ),
    "a cent is gone": (
        "user",
        "UPDATE trade_user SET user_money = user_money - 1",
        "balance is 89996",
    ),
    "a refund never came": (
        "user",
        "DELETE FROM trade_user_money_log WHERE money_log_type = 2",
        "should hold",
    ),
    "a used coupon is free again": (
        "coupon",
        "UPDATE trade_coupon SET is_used = 0, order_id = NULL",
        "used by None",
    ),
    "a coupon lost its owner": ("coupon", "UPDATE trade_coupon SET user_id = 0", "lost its owner"),
}


@pytest.fixture(scope="module")
def busy_history(running_lab: Lab) -> History:
    """Orders of every fate: confirmed with all, plain, cancelled by its user, failed, refused."""
    running_lab.reset()
    history = History(running_lab.home.folder)
    assert history.place(coupon=True, money_paid=3, goods_number=2).placed
    assert history.place().placed
    assert history.cancel(history.place(money_paid=7).order_id).status_code == 200
    with running_lab.faults.armed("order.confirm_pre_order.before_commit", "refuse"):
        assert history.place(money_paid=9).refused
    assert history.place(money_paid=900_01).refused
    running_lab.settle()
    return history


@pytest.fixture
def copied(busy_history: History, tmp_path: Path) -> Iterator[History]:
    """The same history, over a copy of the tables that a test may spoil."""
    tables, answers = busy_history.tables, list(busy_history.answers)
    busy_history.tables = Tables.copy_to(tables, tmp_path)
    yield busy_history
    busy_history.tables, busy_history.answers = tables, answers


def test_the_truth_passes(copied: History) -> None:
    """Where nothing was spoilt nothing is found, and it says how much was looked at."""
    assert copied.check() == {200: 3, 422: 2}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_table_is_seen(copied: History, what: str) -> None:
    """One change of one table by hand, and the check names it."""
    database, sql, complaint = SPOILT[what]
    assert copied.tables.write(database, sql)
    with pytest.raises(AssertionError, match=complaint):
        copied.check()


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        ({"status": 422, "code": 20003}, "was refused with 422"),
        ({"order_id": 42}, "told that order 42 is placed"),
        ({"status": 202, "order_id": 42}, "told to ask for order 42"),
        ({"name": "ReadTimeout", "status": 0}, "not answered in time"),
    ],
)
def test_a_lie_to_a_client_is_seen(copied: History, lie: dict[str, object], complaint: str) -> None:
    """The tables are right, but a client was told something else, or nothing at all."""
    copied.answers[0] = replace(copied.answers[0], **lie)
    with pytest.raises(AssertionError, match=complaint):
        copied.check()


def test_two_answers_to_one_request_must_agree(copied: History) -> None:
    """A request that was sent twice under one key and named two orders is a breach."""
    copied.answers.append(replace(copied.answers[0], order_id=42))
    with pytest.raises(AssertionError, match="order 42 is placed, and it is not there"):
        copied.check()


def test_a_lost_answer_is_wholly_there_or_wholly_not(copied: History) -> None:
    """A client without an answer may find the order or not; both are right if it is whole."""
    lost: Answered = replace(copied.answers[0], status=0, order_id=None, name="ReadError")
    copied.answers[0] = lost
    copied.answers.append(Answered(copied.body(), None, name="ReadError"))
    assert copied.check() == {200: 2, 422: 2, 0: 2}
    copied.tables.write("goods", "DELETE FROM trade_goods_number_log WHERE goods_number = 2")
    with pytest.raises(AssertionError, match="should hold"):
        copied.check()


def test_a_check_that_looks_at_nothing_fails(copied: History) -> None:
    """A history without answers proves nothing, and says so."""
    copied.answers = []
    with pytest.raises(AssertionError, match="no answer"):
        copied.check()
