"""Paying over HTTP: who may pay what, once; and what holds when one side is away or late."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.history import Answered, History
from tests.support.payment_client import Opened
from tests.support.storyline import placed

NOTICE = "platform.notify.before_notify"
NEVER = 1000  # more often than a test crosses a failpoint


def state(history: History, order_id: int | None) -> tuple[int, int]:
    """order_status and pay_status, as the user sees them."""
    order = history.http.get(f"/order/{order_id}").json()["data"]
    return order["order_status"], order["pay_status"]


def is_over(lab: Lab, failpoint: str) -> bool:
    """Return True if a failpoint has done all that it was armed with."""
    return not any(point["armed"] for point in lab.faults.list() if point["name"] == failpoint)


def becomes(history: History, answered: Answered, wanted: tuple[int, int]) -> None:
    wait_until(
        lambda: state(history, answered.order_id) == wanted, f"{answered.order_id} is {wanted}"
    )


def opened(history: History, **wanted: object) -> Opened:
    """The open payment of a new order."""
    order_id = placed(history, **wanted).order_id
    return wait_until(
        lambda: payment if (payment := history.create(order_id)).open else None, "it is open"
    )


def payments(history: History) -> list[dict[str, object]]:
    return history.tables.rows("pay", "SELECT * FROM trade_pay")


def test_an_order_is_paid(history: History) -> None:
    """createPayment, the cashier's button, and the callback: the order is paid with its time, its
    user has a point for each whole yuan, and the log its line."""
    answered = placed(history, coupon=True, money_paid=1_01)
    payment = history.pay(answered.order_id)
    assert payment.pay_amount == 5000_00 - 20_00 - 1_01
    becomes(history, answered, (1, 2))
    view = history.find_payment(payment.pay_id)
    assert (view["order_id"], view["is_paid"]) == (str(answered.order_id), 1)
    assert view["pay_time"]
    assert view["trade_no"]


def test_who_may_not_be_paid(lab: Lab, history: History) -> None:
    """Unknown, paid, cancelled, returned: refused with a word why, and no payment is saved."""
    assert history.create(4711).status == 404
    paid = placed(history)
    history.pay(paid.order_id)
    becomes(history, paid, (1, 2))
    assert history.create(paid.order_id).name == "PAYMENT_ALREADY_PAID"
    history.give_back(paid.order_id)
    cancelled = placed(history)
    history.cancel(cancelled.order_id)
    free = placed(history, coupon=False, money_paid=0)
    for payment in (paid, cancelled):
        refused = history.create(payment.order_id)
        assert (refused.status, refused.name) == (409, "ORDER_NOT_PAYABLE")
    assert history.create(free.order_id).open
    assert len(payments(history)) == 2
    lab.settle()


def test_an_order_with_nothing_left_to_pay_is_not_paid_again(lab: Lab, history: History) -> None:
    """Balance and coupon have paid it all: there is nothing to open."""
    lab.reset(balance=5_000_00)
    history.begin()
    answered = placed(history, money_paid=5_000_00)
    assert history.create(answered.order_id).name == "PAYMENT_ALREADY_PAID"
    assert payments(history) == []


def test_an_unconfirmed_order_cannot_be_paid(lab: Lab, history: History) -> None:
    """While it is not decided the user is told to come again, and no payment is saved."""
    with (
        lab.faults.armed("order.confirm_pre_order.before_commit", "delay:1.5"),
        ThreadPoolExecutor(1) as pool,
    ):
        placing = pool.submit(history.place)
        [row] = wait_until(
            lambda: history.tables.rows("order", "SELECT order_id FROM trade_order"), "it is there"
        )
        assert not history.create(row["order_id"]).open
        assert payments(history) == []
        placing.result(timeout=20)
    lab.settle()


def test_a_payment_is_opened_once(history: History) -> None:
    """16 times at once, and once more: one payment, one trade, the same page."""
    order_id = placed(history).order_id
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(history.create, [order_id] * 16))
    answers.append(history.create(order_id))
    opened_ = {(payment.pay_id, payment.cashier_url) for payment in answers if payment.open}
    assert len(opened_) == 1
    assert {payment.status for payment in answers} <= {200, 503}
    assert len(payments(history)) == 1
    assert len(history.tables.rows("platform", "SELECT * FROM platform_trade")) == 1


def test_pressed_often_it_pays_once(lab: Lab, history: History) -> None:
    """A double click, and two tabs: told that it is paid each time, and paid once."""
    payment = opened(history)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(history.press, [payment] * 8)) == {200}
    lab.settle()
    assert history.press(payment, "give-up") == 409
    [trade] = history.tables.rows("platform", "SELECT total_amount FROM platform_trade")
    assert trade["total_amount"] == payment.pay_amount


def test_given_up_it_can_be_paid_anew(lab: Lab, history: History) -> None:
    """A trade that was given up is closed, and the order gets another payment."""
    first = opened(history)
    assert history.press(first, "give-up") == 200
    assert history.press(first) == 409
    second = wait_until(
        lambda: payment if (payment := history.create(first.order_id)).open else None,
        "another is open",
    )
    assert second.pay_id != first.pay_id
    history.press(second)
    lab.settle()
    assert state(history, first.order_id) == (1, 2)
    assert [row["is_paid"] for row in payments(history)] == [2, 1]


def test_a_lost_callback_is_made_up_for_by_asking(lab: Lab, history: History) -> None:
    """The callback never comes: the pay service asks by itself. When the platform repeats it, by
    the lab clock, nothing changes any more."""
    lab.faults.arm(NOTICE, "refuse")
    answered = placed(history)
    payment = history.pay(answered.order_id)
    becomes(history, answered, (1, 2))
    lab.settle()
    [notice] = history.tables.rows("platform", "SELECT * FROM platform_notice")
    assert (notice["tries"], notice["answer_time"]) == (1, None)
    before = history.tables.rows("pay", "SELECT * FROM trade_pay")

    lab.clock.advance(minutes=4)
    query = "SELECT * FROM platform_notice WHERE answer_time IS NOT NULL"
    [notice] = wait_until(lambda: history.tables.rows("platform", query), "the repeat is answered")
    assert (notice["tries"], notice["out_trade_no"]) == (2, payment.pay_id)
    assert history.tables.rows("pay", "SELECT * FROM trade_pay") == before


@pytest.mark.parametrize("verb", ["duplicate", "delay:0.4", "reorder"])
def test_a_callback_that_comes_twice_late_or_out_of_turn(
    lab: Lab, history: History, verb: str
) -> None:
    """Four payments, and their callbacks in disorder: each is paid once."""
    orders = [placed(history).order_id for _ in range(4)]
    lab.faults.arm(NOTICE, verb, times=2)
    history.pay_all(orders, clients=4)
    lab.settle()
    assert {state(history, order) for order in orders} == {(1, 2)}


@pytest.mark.parametrize("verb", ["alter", "forge", "wrong_amount"])
def test_a_callback_that_lies_is_not_believed(lab: Lab, history: History, verb: str) -> None:
    """It is answered `fail`, and what is true comes out by asking."""
    lab.faults.arm(NOTICE, verb)
    answered = placed(history)
    history.pay(answered.order_id)
    tried = "SELECT * FROM platform_notice WHERE tries = 1"
    [notice] = wait_until(lambda: history.tables.rows("platform", tried), "it was sent")
    assert "fail" in notice["last_error"]
    assert notice["answer_time"] is None
    becomes(history, answered, (1, 2))
    lab.settle()


def test_a_callback_that_is_quicker_than_the_answer(lab: Lab, history: History) -> None:
    """The trade is paid, and told, before createPayment has been answered: the row is there."""
    history.paid_by_others = True
    lab.faults.arm("platform.create_trade.before_answer", "early")
    answered = placed(history)
    history.create(answered.order_id)
    becomes(history, answered, (1, 2))
    lab.settle()
    assert len(payments(history)) == 1


@pytest.mark.parametrize(
    ("failpoint", "action"),
    [
        ("pay.create_trade.before_call", "refuse"),
        ("pay.create_trade.after_call", "refuse"),
        ("platform.create_trade.after_commit", "crash"),
        ("pay.open_payment.after_commit", "crash"),
    ],
)
def test_asked_again_after_a_failure_it_is_the_same_payment(
    lab: Lab, history: History, failpoint: str, action: str
) -> None:
    """The platform or the pay service goes while a payment is opened: an honest 503, unless it is
    back in time, and createPayment gives the payment that was saved."""
    answered = placed(history)
    lab.faults.arm(failpoint, action)
    assert history.create(answered.order_id).status in (200, 503)
    assert is_over(lab, failpoint)
    [row] = payments(history)
    payment = wait_until(
        lambda: payment if (payment := history.create(answered.order_id)).open else None,
        "it is open",
    )
    assert payment.pay_id == row["pay_id"]
    wait_until(lambda: history.press(payment) == 200, "it is paid")
    becomes(history, answered, (1, 2))


def test_it_takes_the_money_and_dies(lab: Lab, history: History) -> None:
    """The platform commits the payment and dies before it answers the buyer: paid once."""
    payment = opened(history)
    lab.faults.arm("platform.pay_trade.after_commit", "crash")
    assert history.press(payment) == 0
    wait_until(lambda: state(history, payment.order_id) == (1, 2), "the order is paid")
    wait_until(lambda: history.press(payment) == 200, "the buyer is told that it is paid")
    lab.settle()


def test_the_time_to_pay_closes_the_trade(lab: Lab, history: History) -> None:
    """An order that nobody paid in its time is cancelled, everything comes back, and its page can
    pay no more."""
    payment = opened(history, coupon=True, money_paid=1_00)
    lab.clock.advance(minutes=15)
    history.unpaid_may_expire = True
    wait_until(lambda: state(history, payment.order_id) == (2, 0), "the order is cancelled")
    assert history.press(payment) == 409
    lab.settle()
    [trade] = history.tables.rows("platform", "SELECT trade_status FROM platform_trade")
    assert trade["trade_status"] == "TRADE_CLOSED"
    assert [row["is_paid"] for row in payments(history)] == [2]
    assert history.tables.rows("user", "SELECT * FROM trade_user") == [*history.users.values()]


def test_nobody_pays_a_malformed_order(history: History) -> None:
    """A createPayment that is no request is a 400, and a payment that is no number too."""
    for body in (b"", b"{}", b"[]", b'{"order_id": -1}', b'{"order_id": 1, "pay_amount": 1}'):
        response = history.http.post(f"{history.pay_web}/pay/createPayment", content=body)
        assert (response.status_code, response.json()["name"]) == (400, "BAD_REQUEST")
    for number, status in (("x", 400), ("0", 400), (str(2**63), 400), ("4711", 404)):
        assert history.http.get(f"{history.pay_web}/pay/{number}").status_code == status
    placed(history)
