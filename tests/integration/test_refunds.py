"""Money that must go back: it goes back once, under an id of its own, and takes all with it."""

import pytest

from labkit.lab import Lab
from labkit.lab.lab import NotSettled
from labkit.waiting import wait_until
from tests.integration.test_paying import (
    NEVER,
    NOTICE,
    becomes,
    is_over,
    opened,
    payments,
    state,
)
from tests.support.forged_callbacks import Forger
from tests.support.history import History
from tests.support.storyline import placed

pytestmark = pytest.mark.slow


def refunds(history: History) -> list[dict[str, object]]:
    return history.tables.rows("pay", "SELECT * FROM trade_refund")


def test_a_returned_order_gives_everything_back(lab: Lab, history: History) -> None:
    """Money through the platform; stock, coupon, balance and points: all as at the opening."""
    answered = placed(history, coupon=True, money_paid=9_99)
    payment = history.pay(answered.order_id)
    becomes(history, answered, (1, 2))
    for _ in range(3):
        assert history.give_back(answered.order_id).status_code == 200
    lab.settle()
    assert state(history, answered.order_id) == (4, 2)
    assert history.find_payment(payment.pay_id)["refund_time"]
    for database, table, opening in (
        ("goods", "trade_goods", history.goods),
        ("user", "trade_user", history.users),
        ("coupon", "trade_coupon", history.coupons),
    ):
        assert history.tables.rows(database, f"SELECT * FROM {table}") == [*opening.values()]
    [back] = history.tables.rows("platform", "SELECT * FROM platform_refund")
    assert (back["out_request_no"], back["amount"]) == (
        refunds(history)[0]["refund_id"],
        payment.pay_amount,
    )


def test_an_order_that_is_cancelled_while_it_is_paid(lab: Lab, history: History) -> None:
    """The buyer has paid, the shop has not heard of it, and the user cancels: refunded once."""
    payment = opened(history, coupon=True)
    lab.faults.arm(NOTICE, "refuse")
    lab.faults.arm("pay.query_trade.before_call", "refuse", times=NEVER)
    assert history.press(payment) == 200
    assert history.cancel(payment.order_id).status_code == 200
    lab.faults.disarm("pay.query_trade.before_call")
    lab.settle()
    assert state(history, payment.order_id) == (2, 0)
    assert [(row["pay_id"], row["state"]) for row in refunds(history)] == [(payment.pay_id, 1)]
    lab.clock.advance(minutes=4)  # the callback comes, at last
    answered = "SELECT * FROM platform_notice WHERE answer_time IS NOT NULL"
    wait_until(lambda: history.tables.rows("platform", answered), "the callback is answered")
    assert len(refunds(history)) == 1


def test_two_payments_of_one_order(lab: Lab, history: History) -> None:
    """The platform says that a trade is closed, and takes money for it after all: the order stands
    paid by one payment, the other one goes back."""
    forger = Forger(lab.home.folder, history)
    first = opened(history)
    fields = forger.notice(first.pay_id, trade_status="TRADE_CLOSED")
    assert forger.send(fields).text == "success"
    second = history.create(first.order_id)
    assert second.open
    assert second.pay_id != first.pay_id
    assert history.press(second) == 200
    wait_until(lambda: state(history, first.order_id) == (1, 2), "the order is paid")
    assert history.press(first) == 200
    wait_until(lambda: refunds(history), "the other payment goes back")
    lab.settle()
    assert [row["is_paid"] for row in payments(history)] == [1, 1]
    assert [row["pay_id"] for row in refunds(history)] == [first.pay_id]

    history.give_back(first.order_id)
    lab.settle()
    assert sorted(row["pay_id"] for row in refunds(history)) == sorted(
        payment.pay_id for payment in (first, second)
    )


@pytest.mark.parametrize(
    ("failpoint", "action"),
    [
        ("pay.refund_trade.before_call", "refuse"),
        ("pay.refund_trade.after_call", "refuse"),
        ("platform.refund_trade.after_commit", "crash"),
        ("pay.finish_refund.before_commit", "crash"),
        ("pay.refunded.before_send", "crash"),
    ],
)
def test_a_refund_is_made_once_whatever_fails(
    lab: Lab, history: History, failpoint: str, action: str
) -> None:
    """The platform or the pay service goes over a refund: it is sent again under the same id."""
    answered = placed(history)
    history.pay(answered.order_id)
    becomes(history, answered, (1, 2))
    lab.faults.arm(failpoint, action, times=1 if action == "crash" else 2)
    history.give_back(answered.order_id)
    wait_until(lambda: is_over(lab, failpoint), "it failed")
    lab.settle()
    [back] = history.tables.rows("platform", "SELECT * FROM platform_refund")
    [refund] = refunds(history)
    assert back["out_request_no"] == refund["refund_id"]


def test_a_refund_that_cannot_be_made_yet_is_seen(lab: Lab, history: History) -> None:
    """While the platform refuses, the lab is not settled, and tells what waits and why."""
    answered = placed(history)
    history.pay(answered.order_id)
    becomes(history, answered, (1, 2))
    lab.faults.arm("pay.refund_trade.before_call", "refuse", times=NEVER)
    history.give_back(answered.order_id)
    wait_until(lambda: refunds(history) and refunds(history)[0]["last_error"], "a try has failed")
    stuck = lab.stuck()
    assert not stuck.empty
    assert "refuse" in stuck.to_string()
    with pytest.raises(NotSettled, match=rf"refund .*\(order {answered.order_id}\): .*refuse"):
        lab.settle(timeout=1)
    lab.faults.disarm("pay.refund_trade.before_call")
    lab.settle()
    assert lab.stuck().empty


def test_a_refund_that_is_told_before_its_payment(lab: Lab, history: History) -> None:
    """`refunded` overtakes `paid`: no points and no log are left, whichever came first."""
    lab.faults.arm("pay.paid.before_send", "delay:2")
    payment = opened(history)
    history.press(payment)
    wait_until(lambda: payments(history)[0]["is_paid"] == 1, "the shop has heard of it")
    history.cancel(payment.order_id)
    wait_until(lambda: refunds(history) and refunds(history)[0]["state"] == 1, "the money is back")
    lab.settle()
    assert history.users == {
        row["user_id"]: row for row in history.tables.rows("user", "SELECT * FROM trade_user")
    }
