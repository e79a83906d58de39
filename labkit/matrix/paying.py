"""Scenarios of paying: by callback, without one, twice told, given up, too late, given back."""

from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_CANCELLED,
    IS_PAID,
    IS_RETURNED,
    Script,
    scenario,
)
from labkit.matrix.stage import ScenarioContext
from labkit.ops import drive

_NOTICE = "platform.notify.before_notify"
_TIME_TO_PAY = {"minutes": 16}


def _order(stage: ScenarioContext) -> Placed:
    return stage.user.order(money_paid=1_00)


@scenario("paid", "a payment is opened and paid at the cashier; a callback tells the shop")
def paid(stage: ScenarioContext) -> Script:
    """An order that is paid."""
    order = _order(stage)
    yield
    stage.user.pay(order)
    return {order: IS_PAID}


@scenario("seen", "an open payment is asked for and looked at, is the same one, and is paid")
def seen(stage: ScenarioContext) -> Script:
    """A payment that is looked at."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    payment = stage.user.find_payment(order)
    if payment["order_id"] != order.order_id or stage.user.cashier(order) != url:
        raise Unexpected(f"the payment of order {order.order_id} is {payment}")
    stage.user.pay(order)
    return {order: IS_PAID}


@scenario("told-twice", "the callback comes twice, and the order is paid once")
def told_twice(stage: ScenarioContext) -> Script:
    """A callback that is repeated."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks(_NOTICE, "duplicate")
    stage.user.press(url)
    stage.user.sees_paid(order)
    return {order: IS_PAID}


@scenario("forged", "a forged callback changes nothing, and the truth is found by asking")
def forged(stage: ScenarioContext) -> Script:
    """A callback that somebody else has signed."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks(_NOTICE, "forge")
    stage.user.press(url)
    stage.user.sees_paid(order)
    return {order: IS_PAID}


@scenario("not-told", "the callback is lost; the shop asks the platform by itself")
def not_told(stage: ScenarioContext) -> Script:
    """A callback that never comes."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks(_NOTICE, "refuse")
    stage.user.press(url)
    stage.user.sees_paid(order)
    return {order: IS_PAID}


@scenario("reconciled", "the callback is lost; a person compares the day's bill, which repairs it")
def reconciled(stage: ScenarioContext) -> Script:
    """A payment that is found on the bill."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks(_NOTICE, "refuse")
    stage.user.press(url)
    stage.reconcile()
    stage.user.sees_paid(order)
    return {order: IS_PAID}


@scenario("given-up", "a payment is given up at the cashier, and another one is paid")
def given_up(stage: ScenarioContext) -> Script:
    """A payment that is given up."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.user.press(url, "give-up")
    stage.user.wait(lambda: _other(stage, order, url), "another payment can be opened")
    stage.user.pay(order)
    return {order: IS_PAID}


@scenario("cancelled-open", "an order is cancelled with its payment open, which is closed as well")
def cancelled_open(stage: ScenarioContext) -> Script:
    """A payment that nobody needs any more."""
    order = _order(stage)
    stage.user.cashier(order)
    yield
    stage.user.cancel(order)
    return {order: IS_CANCELLED}


@scenario("unpaid", "the time to pay runs out: the order is cancelled, and its payment is closed")
def unpaid(stage: ScenarioContext) -> Script:
    """An order that nobody pays."""
    order = _order(stage)
    stage.user.cashier(order)
    yield
    stage.lab.clock.advance(**_TIME_TO_PAY)
    stage.user.wait(
        lambda: stage.user.find(order).get("cancel_reason"), "the unpaid order is cancelled"
    )
    return {order: IS_CANCELLED}


@scenario("unopened", "opening a payment fails, its order is cancelled: the platform closes it")
def unopened(stage: ScenarioContext) -> Script:
    """A payment that never reached the platform."""
    order = _order(stage)
    yield
    stage.breaks("pay.create_trade.before_call", "refuse")
    stage.breaks("pay.close_trade.before_call", "refuse")
    stage.user.open_payment_once(order)
    stage.user.cancel(order)
    return {order: IS_CANCELLED}


@scenario("paid-too-late", "an order is cancelled and paid all the same: the money goes back")
def paid_too_late(stage: ScenarioContext) -> Script:
    """A payment that comes after the cancellation, and before the pay service has heard of it."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks("pay.stop_payment.before_commit", "delay:0.7")
    stage.user.cancel(order)
    stage.user.press(url)
    return {order: IS_CANCELLED}


@scenario("closed-too-late", "a payment is closed here and paid there: the money goes back")
def closed_too_late(stage: ScenarioContext) -> Script:
    """A payment that is made before the platform hears that it is closed."""
    order = _order(stage)
    url = stage.user.cashier(order)
    yield
    stage.breaks("pay.close_trade.before_call", "delay:0.5")
    stage.user.cancel(order)
    stage.user.wait(lambda: not stage.idle(), "the platform is about to be told")
    stage.user.press(url)
    return {order: IS_CANCELLED}


@scenario("returned", "a paid order is returned; stock, balance, points and money go back")
def returned(stage: ScenarioContext) -> Script:
    """An order that is returned."""
    order = _order(stage)
    stage.user.pay(order)
    yield
    stage.user.give_back(order)
    return {order: IS_RETURNED}


@scenario("refunded-later", "a paid order is returned, and the refund is made at the second try")
def refunded_later(stage: ScenarioContext) -> Script:
    """A refund that does not get through at first."""
    order = _order(stage)
    stage.user.pay(order)
    yield
    stage.breaks("pay.refund_trade.before_call", "refuse")
    stage.user.give_back(order)
    return {order: IS_RETURNED}


@scenario("refund-by-hand", "a refund that does not get through is given up and taken back by hand")
def refund_by_hand(stage: ScenarioContext) -> Script:
    """A refund that a person stops, and lets go on."""
    order = _order(stage)
    stage.user.pay(order)
    yield
    stage.breaks("pay.refund_trade.before_call", "refuse", times=2)
    stage.user.give_back(order)
    for one in stage.wait_stuck(order, "not_refunded"):
        stage.by_hand(one["id"], drive.GIVE_UP, drive.TAKE_BACK)
    return {order: IS_RETURNED}


def _other(stage: ScenarioContext, order: Placed, url: str) -> bool:
    """Whether another payment is open than the one with this page."""
    answer = stage.user.open_payment(order)
    return answer.status_code == 200 and answer.json()["data"]["cashier_url"] != url
