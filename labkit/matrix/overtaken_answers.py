"""Scenarios of answers that are outdated when they arrive, because their payment has changed."""

from functools import partial

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Unexpected
from labkit.matrix.scenario import IS_CANCELLED, IS_PAID, Script, scenario

_CREATE, _CLOSE = "pay.create_trade.before_call", "pay.close_trade.after_call"
_QUERY, _ANSWER = "pay.query_trade.before_call", "pay.query_trade.after_call"
#: The delay of the request that opens the trade.
_OPENING_SECONDS = 1.9


@scenario("overtaken", "closing a trade is answered before it is opened, and heard of afterwards")
def overtaken(context: ScenarioContext) -> Script:
    """Cancel an order while its payment is being opened.

    The platform answers that there is no such trade, which is true when it is sent and false when
    it arrives; the pay service asks nothing else until then.
    """
    order = context.customer.order(money_paid=1_00)
    yield
    context.inject(_CREATE, f"delay:{_OPENING_SECONDS}")
    context.inject(_CLOSE, "delay:2.2")
    began = context.customer.clock.monotonic()
    with context.background(partial(context.customer.open_payment_once, order)) as opening:
        context.customer.wait_until(
            lambda: _CREATE not in context.unspent_faults() or opening.done(), "it is being opened"
        )
        context.customer.cancel(order)
        context.customer.wait_until(
            lambda: _CLOSE not in context.unspent_faults() or opening.done(), "it is to be closed"
        )
        is_closed_first = context.customer.clock.monotonic() - began < _OPENING_SECONDS
        context.inject("pay.claim_check.before_commit", "delay:3.5")
        status = opening.result()
    if context.is_baseline and is_closed_first and status == 200:
        raise Unexpected(f"a cashier is named for order {order.order_id}, which was cancelled")
    return {order: IS_CANCELLED}


@scenario("paid-while-asked", "a payment is paid while it is asked about, and that answer is lost")
def paid_while_asked(context: ScenarioContext) -> Script:
    """Pay while the platform is being asked, and lose that answer; the callback has come."""
    order = context.customer.order(money_paid=1_00)
    yield
    context.inject(_QUERY, "delay:0.5")  # half of a call's time-out: the call is still made
    context.inject(_ANSWER, "refuse")
    url = context.customer.open_cashier(order)
    context.customer.wait_until(
        lambda: _QUERY not in context.unspent_faults(), "the platform is about to be asked"
    )
    context.customer.press(url)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}
