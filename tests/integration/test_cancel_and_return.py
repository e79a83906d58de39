"""Cancelling an unpaid order, returning a paid one, and the time to pay: all back, and once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.db import Row
from tests.support.history import Answered, History


def holds_nothing(history: History) -> None:
    """Stock, coupons and balances are as at the opening, owners and all."""
    rows = history.tables.rows
    assert rows("goods", "SELECT * FROM trade_goods") == [*history.goods.values()]
    assert rows("coupon", "SELECT * FROM trade_coupon") == [*history.coupons.values()]
    assert rows("user", "SELECT * FROM trade_user") == [*history.users.values()]


def state(history: History, answered: Answered) -> tuple[int, int]:
    """order_status and pay_status, as the user sees them."""
    order: Row = history.http.get(f"/order/{answered.order_id}").json()["data"]
    return order["order_status"], order["pay_status"]


@pytest.fixture
def paid(lab: Lab, history: History) -> Answered:
    """An order that coupon and balance pay in full."""
    lab.reset(balance=5_000_00)
    history.begin()
    answered = history.place(coupon=True, money_paid=4_980_00, key="k")
    assert state(history, answered) == (1, 2)
    return answered


def test_a_cancelled_order_gives_everything_back(lab: Lab, history: History) -> None:
    """Stock, coupon, balance are back to the cent, each with a log row; the order tells why."""
    answered = history.place(goods_number=3, coupon=True, money_paid=1_23)
    response = history.cancel(answered.order_id)
    assert (response.status_code, response.json()["code"]) == (200, 1)
    lab.settle()
    holds_nothing(history)
    order = history.http.get(f"/order/{answered.order_id}").json()["data"]
    assert order["order_status"] == 2
    assert order["cancel_reason"] == "cancelled by the user"
    assert order["cancel_time"] is not None
    number_log = "SELECT direction, goods_number FROM trade_goods_number_log WHERE order_id"
    assert history.tables.rows("goods", number_log) == [
        {"direction": "deduct", "goods_number": 3},
        {"direction": "return", "goods_number": 3},
    ]
    money_log = "SELECT money_log_type, use_money FROM trade_user_money_log WHERE order_id"
    assert history.tables.rows("user", money_log) == [
        {"money_log_type": 1, "use_money": 1_23},
        {"money_log_type": 2, "use_money": 1_23},
    ]


def test_cancelled_16_times_at_once_it_gives_back_once(lab: Lab, history: History) -> None:
    """Every cancel is told that it is done, and so is a later one; what was taken is back once."""
    answered = history.place(coupon=True, money_paid=1_00)
    with ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(history.cancel, [answered.order_id] * 16)]
    answers.append(history.cancel(answered.order_id))
    assert {answer.status_code for answer in answers} == {200}
    lab.settle()
    holds_nothing(history)
    sent = history.tables.rows("order", "SELECT topic FROM trade_mq_producer")
    assert sent == [{"topic": "order_cancel"}]


def test_what_was_given_back_can_be_bought_again(lab: Lab, history: History) -> None:
    """The coupon and the balance of a cancelled order pay for the next one."""
    wanted = {"coupon": True, "money_paid": 900_00}
    first = history.place(**wanted, key="k")
    assert history.place(**wanted).refused
    history.cancel(first.order_id)
    lab.settle()
    assert history.place(**wanted).placed
    assert history.send(first.body, "k") == first  # what the key was told stands


@pytest.mark.parametrize("verb", ["cancel", "give_back"])
def test_nobody_ends_the_order_of_another(lab: Lab, history: History, verb: str) -> None:
    """To another user the order does not exist: 404, and no table changes."""
    lab.reset(users=2)
    history.begin()
    answered = history.place(user_id=1)
    before = history.tables.everything()
    for user_id in (2, 77):
        response = getattr(history, verb)(answered.order_id, user_id)
        assert (response.status_code, response.json()["code"]) == (404, 10006)
    assert history.tables.everything() == before


def test_a_paid_order_cannot_be_cancelled_but_returned(
    lab: Lab, history: History, paid: Answered
) -> None:
    """Cancel is 409; a return gives everything back, once, and tells everybody."""
    assert history.cancel(paid.order_id).status_code == 409
    assert state(history, paid) == (1, 2)
    with ThreadPoolExecutor(8) as pool:
        statuses = {
            answer.status_code for answer in pool.map(history.give_back, [paid.order_id] * 8)
        }
    assert statuses == {200}
    lab.settle()
    assert state(history, paid) == (4, 2)
    holds_nothing(history)
    assert history.cancel(paid.order_id).status_code == 409
    assert history.give_back(paid.order_id).status_code == 200
    assert history.send(paid.body, "k") == paid


def test_an_unpaid_order_cannot_be_returned(lab: Lab, history: History) -> None:
    """Only what is paid can be returned; and what was cancelled cannot be either."""
    answered = history.place()
    assert history.give_back(answered.order_id).status_code == 409
    assert history.cancel(answered.order_id).status_code == 200
    assert history.give_back(answered.order_id).status_code == 409
    lab.settle()


def test_a_failed_order_cannot_be_ended_again(lab: Lab, history: History) -> None:
    """An order that was cancelled because its confirm failed is neither cancelled nor returned."""
    with lab.faults.armed("order.confirm_pre_order.before_commit", "refuse"):
        failed = history.place(coupon=True, money_paid=1)
    assert failed.order_id is not None
    for response in (history.cancel(failed.order_id), history.give_back(failed.order_id)):
        assert (response.status_code, response.json()["code"]) == (409, 10001)
    lab.settle()
    holds_nothing(history)


def test_the_time_to_pay_runs_by_the_lab_clock(lab: Lab, history: History) -> None:
    """15 minutes of business time unpaid, and an order is cancelled; a younger one stays."""
    old = history.place(coupon=True, money_paid=1_00)
    lab.clock.advance(minutes=10)
    young = history.place()
    lab.clock.advance(minutes=5)
    history.unpaid_may_expire = True
    wait_until(lambda: state(history, old) == (2, 0), "the old order is cancelled")
    lab.settle()
    assert state(history, young) == (1, 0)
    assert history.cancel(old.order_id).status_code == 409
    (coupon,) = history.tables.rows("coupon", "SELECT is_used FROM trade_coupon")
    assert coupon["is_used"] == 0


def test_a_paid_order_does_not_expire(lab: Lab, history: History, paid: Answered) -> None:
    """A paid order stays, however much business time goes by."""
    unpaid = history.place()
    lab.clock.advance(hours=30)
    history.unpaid_may_expire = True
    wait_until(lambda: state(history, unpaid) == (2, 0), "the unpaid order is cancelled")
    assert state(history, paid) == (1, 2)


def test_a_cancel_that_races_the_confirm(lab: Lab, history: History) -> None:
    """24 orders cancelled from the moment they exist: each ends one way, and wholly.

    Before the confirm a cancel is told 202 and comes again; in the end nothing is held.
    """
    done: set[int] = set()

    def cancel_all() -> None:
        while len(done) < 24:
            for row in history.tables.rows("order", "SELECT order_id FROM trade_order"):
                if row["order_id"] not in done:
                    status = history.cancel(row["order_id"]).status_code
                    done.update([row["order_id"]] if status in (200, 409) else [])

    lab.faults.arm("order.confirm_pre_order.before_commit", "delay:0.3", times=24)  # to be seen
    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(cancel_all)
        history.place_all([{"money_paid": 1_00}] * 24, clients=8)
        cancelling.result(timeout=60)
    assert any(status == 202 for answers in history.ended.values() for status, _ in answers)
    lab.settle()
    holds_nothing(history)
