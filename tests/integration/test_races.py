"""Many clients at once on one thing: what there is once is sold once, to the piece and the cent."""

from collections import Counter
from collections.abc import Callable

from labkit.lab import Lab
from tests.support.db import Row
from tests.support.history import History

ROUNDS = 5


def race(lab: Lab, history: History, wanted: Row, clients: int, enough: Callable[[], bool]) -> None:
    """Let so many clients want the same at once; who was cancelled for being late comes again.

    On a slow machine a call may be late, and its order is cancelled with nothing kept (503, or 202
    and cancelled then). So what is left is wanted again, until there is enough.
    """
    for _ in range(ROUNDS):
        answers = history.place_all([wanted] * clients, clients)
        counts = Counter((answer.status, answer.name) for answer in answers)
        assert {status for status, _ in counts} <= {200, 202, 422, 503}, counts
        lab.settle(timeout=40)
        if enough():
            return
    raise AssertionError(f"still not enough after {ROUNDS} rounds")


def confirmed(history: History) -> list[Row]:
    return history.tables.rows("order", "SELECT * FROM trade_order WHERE order_status = 1")


def test_300_buyers_of_the_last_100_pieces(lab: Lab, history: History) -> None:
    """Exactly 100 are sold, whoever comes first; the rest are told that the stock is short."""
    lab.reset(stock=100)
    history.begin()
    race(lab, history, {}, 300, lambda: len(confirmed(history)) >= 100)
    assert len(confirmed(history)) == 100
    assert history.tables.rows("goods", "SELECT goods_number FROM trade_goods") == [
        {"goods_number": 0}
    ]
    assert sum(answer.code == 20003 for answer in history.answers) > 0
    assert history.check()[200] <= 100


def test_64_orders_with_one_coupon(lab: Lab, history: History) -> None:
    """Exactly one of them uses it; the others are refused and keep nothing."""
    race(lab, history, {"coupon": True}, 64, lambda: len(confirmed(history)) >= 1)
    (winner,) = confirmed(history)
    (coupon,) = history.tables.rows("coupon", "SELECT * FROM trade_coupon")
    assert (coupon["is_used"], coupon["order_id"]) == (1, winner["order_id"])
    assert {answer.code for answer in history.answers if answer.status == 422} <= {40004, 10008}


def test_64_orders_spend_one_balance(lab: Lab, history: History) -> None:
    """Of 900.00, orders of 70.00 each can be paid 12 times: 12 are, and 60.00 stay."""
    race(lab, history, {"money_paid": 70_00}, 64, lambda: len(confirmed(history)) >= 12)
    assert len(confirmed(history)) == 12
    (user,) = history.tables.rows("user", "SELECT user_money FROM trade_user")
    assert user["user_money"] == 60_00
    assert {answer.code for answer in history.answers if answer.status == 422} <= {50002, 10008}
