"""Scenarios of paying: with a callback, without one, with two, given up, too late, refunded."""

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_CANCELLED,
    IS_PAID,
    IS_RETURNED,
    Script,
    scenario,
)
from labkit.ops.drive import ManualAction

_NOTICE = "platform.notify.before_notify"
_TIME_TO_PAY = {"minutes": 16}


def _order(context: ScenarioContext) -> Placed:
    return context.customer.order(money_paid=1_00)


@scenario("paid", "a payment is opened and paid at the cashier; a callback tells the shop")
def paid(context: ScenarioContext) -> Script:
    """Pay an order."""
    order = _order(context)
    yield
    context.customer.pay(order)
    return {order: IS_PAID}


@scenario("seen", "an open payment is asked for and looked at, is the same one, and is paid")
def seen(context: ScenarioContext) -> Script:
    """Read an open payment, open it again, and pay it."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    payment = context.customer.find_payment(order)
    if payment["order_id"] != order.order_id or context.customer.open_cashier(order) != url:
        raise Unexpected(f"the payment of order {order.order_id} is {payment}")
    context.customer.pay(order)
    return {order: IS_PAID}


@scenario("told-twice", "the callback comes twice, and the order is paid once")
def told_twice(context: ScenarioContext) -> Script:
    """Repeat the callback."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject(_NOTICE, "duplicate")
    context.customer.press(url)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


@scenario("forged", "a forged callback changes nothing, and the truth is found by asking")
def forged(context: ScenarioContext) -> Script:
    """Sign the callback with a foreign key."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject(_NOTICE, "forge")
    context.customer.press(url)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


@scenario("not-told", "the callback is lost; the shop asks the platform by itself")
def not_told(context: ScenarioContext) -> Script:
    """Drop the callback."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject(_NOTICE, "refuse")
    context.customer.press(url)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


@scenario("reconciled", "the callback is lost; a person compares the day's bill, which repairs it")
def reconciled(context: ScenarioContext) -> Script:
    """Drop the callback, and reconcile the day."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject(_NOTICE, "refuse")
    context.customer.press(url)
    context.reconcile()
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


@scenario("given-up", "a payment is given up at the cashier, and another one is paid")
def given_up(context: ScenarioContext) -> Script:
    """Give a payment up at the cashier, and pay another one."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.customer.press(url, "give-up")
    context.customer.wait_until(
        lambda: _is_another_open(context, order, url), "another payment can be opened"
    )
    context.customer.pay(order)
    return {order: IS_PAID}


@scenario("cancelled-open", "an order is cancelled with its payment open, which is closed as well")
def cancelled_open(context: ScenarioContext) -> Script:
    """Cancel an order whose payment is open."""
    order = _order(context)
    context.customer.open_cashier(order)
    yield
    context.customer.cancel(order)
    return {order: IS_CANCELLED}


@scenario("unpaid", "the time to pay runs out: the order is cancelled, and its payment is closed")
def unpaid(context: ScenarioContext) -> Script:
    """Let the time to pay run out."""
    order = _order(context)
    context.customer.open_cashier(order)
    yield
    context.lab.clock.advance(**_TIME_TO_PAY)
    context.customer.wait_until(
        lambda: context.customer.find(order).get("cancel_reason"), "the unpaid order is cancelled"
    )
    return {order: IS_CANCELLED}


@scenario("unopened", "opening a payment fails, its order is cancelled: the platform closes it")
def unopened(context: ScenarioContext) -> Script:
    """Lose the request that opens the trade, and the one that closes it."""
    order = _order(context)
    yield
    context.inject("pay.create_trade.before_call", "refuse")
    context.inject("pay.close_trade.before_call", "refuse")
    context.customer.open_payment_once(order)
    context.customer.cancel(order)
    return {order: IS_CANCELLED}


@scenario("paid-too-late", "an order is cancelled and paid all the same: the money goes back")
def paid_too_late(context: ScenarioContext) -> Script:
    """Pay after the cancellation, before the pay service has handled its message."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject("pay.stop_payment.before_commit", "delay:0.7")
    context.customer.cancel(order)
    context.customer.press(url)
    return {order: IS_CANCELLED}


@scenario("closed-too-late", "a payment is closed here and paid there: the money goes back")
def closed_too_late(context: ScenarioContext) -> Script:
    """Pay before the platform is asked to close the trade."""
    order = _order(context)
    url = context.customer.open_cashier(order)
    yield
    context.inject("pay.close_trade.before_call", "delay:0.5")
    context.customer.cancel(order)
    context.customer.wait_until(
        lambda: not context.unspent_faults(), "the platform is about to be told"
    )
    context.customer.press(url)
    return {order: IS_CANCELLED}


@scenario("returned", "a paid order is returned; stock, balance, points and money go back")
def returned(context: ScenarioContext) -> Script:
    """Return a paid order."""
    order = _order(context)
    context.customer.pay(order)
    yield
    context.customer.return_order(order)
    return {order: IS_RETURNED}


@scenario("refunded-later", "a paid order is returned, and the refund is made at the second try")
def refunded_later(context: ScenarioContext) -> Script:
    """Lose the first request for a refund."""
    order = _order(context)
    context.customer.pay(order)
    yield
    context.inject("pay.refund_trade.before_call", "refuse")
    context.customer.return_order(order)
    return {order: IS_RETURNED}


@scenario("refund-by-hand", "a refund that does not get through is given up and taken back by hand")
def refund_by_hand(context: ScenarioContext) -> Script:
    """Lose two requests for a refund; a person gives it up and takes it back."""
    order = _order(context)
    context.customer.pay(order)
    yield
    context.inject("pay.refund_trade.before_call", "refuse", times=2)
    context.customer.return_order(order)
    for item in context.wait_stuck(order, "not_refunded"):
        context.drive(item["id"], ManualAction.GIVE_UP, ManualAction.TAKE_BACK)
    return {order: IS_RETURNED}


def _is_another_open(context: ScenarioContext, order: Placed, url: str) -> bool:
    """Return True if another payment is open than the one with this cashier page."""
    answer = context.customer.open_payment(order)
    return answer.status_code == 200 and answer.json()["data"]["cashier_url"] != url
