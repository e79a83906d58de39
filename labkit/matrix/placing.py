"""Scenarios of placing an order: it succeeds, fails late, is repeated, is abandoned."""

from functools import partial

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_ABSENT,
    IS_CANCELLED,
    IS_PAID,
    IS_PLACED,
    Script,
    scenario,
)

_CONFIRM = "order.confirm_pre_order.before_commit"
#: In a lab of the matrix an order may take 3 s, and its web answers after 2.5 s: see `labs`.
_LATE, _IN_TIME = 3.2, 2.0
_IS_ANYTHING = IS_PLACED | IS_CANCELLED | IS_ABSENT
#: Price of the first goods in cents; an order buys one piece.
_PRICE = 5_000_00


@scenario("accepted", "an order takes stock, a coupon and balance, and waits to be paid")
def accepted(context: ScenarioContext) -> Script:
    """Place an order; it is cancelled where a service was down for longer than a call may take."""
    yield
    order = context.customer.place(coupon=True, money_paid=1_00)
    return {order: IS_PLACED if context.is_baseline else IS_PLACED | IS_CANCELLED}


@scenario("accepted-paid", "an order that its user's balance pays whole is placed and paid at once")
def accepted_paid(context: ScenarioContext) -> Script:
    """Place an order that leaves nothing to pay."""
    yield
    order = context.customer.place(money_paid=_PRICE)
    if order.status == 200:
        context.customer.wait_until_paid(order)
    return {order: IS_PAID if context.is_baseline else IS_PAID | IS_CANCELLED}


@scenario("repeated", "the same key brings the same order, and with another request it is refused")
def repeated(context: ScenarioContext) -> Script:
    """Send a request again, and another one under its key."""
    order = context.customer.order(money_paid=1_00)
    yield
    again = context.customer.resend(order)
    if again != order:
        raise Unexpected(f"the same request was answered {order}, and then {again}")
    other = type(order)({**order.body, "money_paid": 2_00}, order.key)
    refused = context.customer.reuse_key(other)
    if refused.name != "IDEMPOTENCY_KEY_REUSED":
        raise Unexpected(f"another request under the same key was answered {refused}")
    if context.customer.find(order)["money_paid"] != 1_00:
        raise Unexpected("the order is not the first one")
    return {order: IS_PLACED}


@scenario("confirm-fails", "the last step fails: the order is cancelled, and all it took returns")
def confirm_fails(context: ScenarioContext) -> Script:
    """Refuse the confirmation; after a crash a repeated request may succeed."""
    yield
    context.inject(_CONFIRM, "refuse")
    order = context.customer.place(coupon=True, money_paid=1_00)
    return {order: IS_CANCELLED if context.is_baseline else IS_CANCELLED | IS_PLACED}


@scenario("abandoned", "an order's flow dies, and nobody asks again: a sweeper cancels the order")
def abandoned(context: ScenarioContext) -> Script:
    """Kill the flow of an order, and its web, before the order is confirmed."""
    yield
    context.inject(_CONFIRM, "delay:2")
    request = partial(context.customer.place_once, coupon=True, money_paid=1_00)
    with context.background(request) as placing:
        context.customer.wait_until(
            lambda: not context.unspent_faults() or placing.done(), "the order is on its way"
        )
        context.power_cut("order", "order-web")
        order = placing.result()
    return {order: IS_CANCELLED if context.is_baseline else _IS_ANYTHING}


@scenario("ruled-out", "an order is looked for and not there in its time: it never comes to be")
def ruled_out(context: ScenarioContext) -> Script:
    """Delay a flow beyond its deadline; its user stops asking at a 404."""
    yield
    context.inject("order.find_goods.after_call", f"delay:{_LATE}")
    order = _place_too_slowly(context)
    if order.order_id is not None:
        context.customer.look_up(order.order_id)
    return {context.customer.resend(order): IS_ABSENT if context.is_baseline else _IS_ANYTHING}


@scenario("stalled", "an order is looked for while the commit that saves it hangs past its time")
def stalled(context: ScenarioContext) -> Script:
    """Stall a commit whose deadline was checked in time."""
    saved = "order.save_pre_order.after_commit"
    before = context.hits(saved)
    yield
    context.inject("order.find_goods.after_call", f"delay:{_IN_TIME}")
    context.inject("order.save_pre_order.before_commit", "stall:3")
    order = _place_too_slowly(context)
    if order.order_id is not None:
        context.customer.look_up(order.order_id)
    if context.is_baseline:
        context.customer.wait_until(
            lambda: context.hits(saved) > before, "the commit that hung is over"
        )
    return {order: _IS_ANYTHING}


def _place_too_slowly(context: ScenarioContext) -> Placed:
    """Place an order whose flow takes longer than its web waits, which answers 202 with the id."""
    order = context.customer.place_once(money_paid=1_00)
    if context.is_baseline and order.status != 202:
        raise Unexpected(f"placing an order is to take too long, and was answered {order}")
    return order


@scenario("cancelled", "its user cancels an order, and all that it took comes back")
def cancelled(context: ScenarioContext) -> Script:
    """Cancel an order before it is paid."""
    order = context.customer.order(coupon=True, money_paid=1_00)
    yield
    context.customer.cancel(order)
    return {order: IS_CANCELLED}
