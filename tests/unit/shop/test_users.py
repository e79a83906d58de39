"""Balance and points: taken once and never below zero, given back once, points once a payment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.shop import users
from labkit.shop.codes import Code
from labkit.shop.messages import (
    DeductBalance,
    FindUser,
    OrderCancelled,
    OrderPaid,
    OrderRefunded,
)
from tests.support.store import BALANCE, POINTS, OpenStore, Store

ORDER, PAYMENT = 1001, 2002


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """Users 1 and 2 with 900.00 each."""
    return open_store("user")


def pay(cents: int, order_id: int = ORDER, user_id: int = 1) -> DeductBalance:
    return DeductBalance(order_id=order_id, user_id=user_id, money_paid=cents)


def balances(store: Store) -> list[int]:
    return [row["user_money"] for row in store.rows("trade_user")]


def log(store: Store, order_id: int = ORDER) -> list[tuple[int, int, int]]:
    rows = store.rows("trade_user_money_log", order_id=order_id)
    return [(row["user_id"], row["money_log_type"], row["use_money"]) for row in rows]


def test_a_user_is_found_as_it_is(store: Store) -> None:
    """A query gives the balance as it is now, and an unknown user is refused."""
    assert store.run(users.find_user, FindUser(user_id=1)).data.user_money == BALANCE
    assert store.run(users.find_user, FindUser(user_id=9)).code == Code.USER_MISSING


def test_money_is_taken_with_its_log(store: Store) -> None:
    """A deduction lowers one user's balance, writes the log row and records the amount."""
    assert store.run(users.deduct_balance, pay(250_00)).success
    assert balances(store) == [BALANCE - 250_00, BALANCE]
    assert log(store) == [(1, 1, 250_00)]
    assert store.outcome("deduct_balance", ORDER) == ("applied", 250_00)


def test_all_of_the_balance_may_be_spent_and_no_more(store: Store) -> None:
    """The balance goes down to zero; one cent more is refused, and only that is written."""
    assert store.run(users.deduct_balance, pay(BALANCE)).success
    before = store.business()

    refused = store.run(users.deduct_balance, pay(1, order_id=1002))

    assert refused.code == Code.MONEY_MORE_THAN_BALANCE
    assert "1002" in refused.message
    assert store.business() == before
    assert store.outcome("deduct_balance", 1002) == ("refused", 0)


def test_money_comes_back_to_who_paid(store: Store) -> None:
    """A compensation gives the recorded cents back to the user who paid, and logs it."""
    store.run(users.deduct_balance, pay(250_00))
    store.run(users.deduct_balance, pay(10_00, order_id=1002, user_id=2))

    store.run(users.return_balance, OrderCancelled(order_id=ORDER))

    assert balances(store) == [BALANCE, BALANCE - 10_00]
    assert log(store) == [(1, 1, 250_00), (1, 2, 250_00)]
    assert log(store, 1002) == [(2, 1, 10_00)]


@pytest.mark.parametrize("cents", [0, -1, -BALANCE])
def test_no_order_mints_money(store: Store, cents: int) -> None:
    """An amount of zero or below never raises a balance: it is no payment at all."""
    before = store.business()
    with pytest.raises(ValueError, match="money_paid"):
        store.run(users.deduct_balance, pay(cents))
    assert store.business() == before


def test_points_are_added_once(store: Store) -> None:
    """A payment adds one point for each whole yuan, once, with a log row; cents do not count."""
    paid = OrderPaid(order_id=ORDER, user_id=1, pay_id=PAYMENT, pay_amount=12_99)
    store.run(users.add_points, paid)
    before = store.everything()
    store.run(users.add_points, paid)

    assert store.everything() == before
    assert [row["user_score"] for row in store.rows("trade_user")] == [POINTS + 12, POINTS]
    assert store.row("trade_user_score_log", order_id=ORDER)["use_score"] == 12
    assert store.outcome("add_points", PAYMENT) == ("applied", 12)


def test_nothing_paid_gives_no_points_and_no_log(store: Store) -> None:
    """An order that the balance paid for in full earns nothing, and its log stays empty."""
    store.run(users.add_points, OrderPaid(order_id=ORDER, user_id=1, pay_id=ORDER, pay_amount=0))
    assert store.row("trade_user", user_id=1)["user_score"] == POINTS
    assert store.rows("trade_user_score_log", order_id=ORDER) == []


def came(cents: int = 12_99, pay_id: int = PAYMENT) -> OrderPaid:
    return OrderPaid(order_id=ORDER, user_id=1, pay_id=pay_id, pay_amount=cents)


def went_back(pay_id: int = PAYMENT) -> OrderRefunded:
    money = {"refund_id": 3003, "amount": 12_99}
    return OrderRefunded(order_id=ORDER, user_id=1, pay_id=pay_id, **money)


def points(store: Store) -> tuple[int, list[tuple[int, int]]]:
    log = store.rows("trade_user_score_log", order_id=ORDER)
    kinds = [(row["score_log_type"], row["use_score"]) for row in log]
    return store.row("trade_user", user_id=1)["user_score"], kinds


def test_points_of_a_refunded_payment_go_back(store: Store) -> None:
    """The points of a payment are taken back once, in whole yuan as they came, and logged."""
    store.run(users.add_points, came())
    for _ in range(2):
        store.run(users.take_points_back, went_back())
    assert points(store) == (POINTS, [(1, 12), (2, 12)])


def test_a_refund_that_comes_first_keeps_the_points_away(store: Store) -> None:
    """The late payment message (hanging try) brings no points after its refund."""
    store.run(users.take_points_back, went_back())
    store.run(users.add_points, came())
    assert points(store) == (POINTS, [])


def test_the_refund_of_another_payment_takes_no_points(store: Store) -> None:
    """A second payment of the order goes back: the points of the first one stay."""
    store.run(users.add_points, came())
    store.run(users.take_points_back, went_back(PAYMENT + 1))
    assert points(store) == (POINTS + 12, [(1, 12)])


def test_less_than_a_yuan_goes_back_without_a_log(store: Store) -> None:
    """Where a payment brought no points its refund takes none and writes nothing."""
    store.run(users.add_points, came(99))
    store.run(users.take_points_back, went_back())
    assert points(store) == (POINTS, [])


@given(amounts=st.lists(st.integers(1, BALANCE), max_size=8))
def test_the_log_always_explains_the_balance(open_store: OpenStore, amounts: list[int]) -> None:
    """Whatever is deducted, refused and given back, balance and money log say the same."""
    store = open_store("user")
    for order_id, cents in enumerate(amounts, start=ORDER):
        store.run(users.deduct_balance, pay(cents, order_id))
    for order_id in range(ORDER, ORDER + len(amounts), 2):
        store.run(users.return_balance, OrderCancelled(order_id=order_id))

    signs = {0: 1, 1: -1, 2: 1}  # opening, paid, refunded
    logged = store.rows("trade_user_money_log", user_id=1)
    balance = store.row("trade_user", user_id=1)["user_money"]
    assert balance == sum(signs[row["money_log_type"]] * row["use_money"] for row in logged)
    assert balance >= 0
