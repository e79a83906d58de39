"""Scenarios of answers that are overtaken by what befalls a payment while they are on their way."""

import time
from concurrent.futures import ThreadPoolExecutor

from labkit.matrix.customer import Unexpected
from labkit.matrix.scenario import IS_CANCELLED, IS_PAID, Script, scenario
from labkit.matrix.stage import ScenarioContext

_CREATE, _CLOSE = "pay.create_trade.before_call", "pay.close_trade.after_call"
_ASK, _TOLD = "pay.query_trade.before_call", "pay.query_trade.after_call"
#: So long is the request on its way that opens the trade.
_OPENING_SECONDS = 1.9


@scenario("overtaken", "closing a trade is answered before it is opened, and heard of afterwards")
def overtaken(stage: ScenarioContext) -> Script:
    """An order that is cancelled while its payment is being opened.

    That there is no such trade is true when it is said, and no longer when it is heard; and until
    then nothing else is asked.
    """
    order = stage.user.order(money_paid=1_00)
    yield
    stage.breaks(_CREATE, f"delay:{_OPENING_SECONDS}")
    stage.breaks(_CLOSE, "delay:2.2")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(stage.user.open_payment_once, order)
        stage.user.wait(lambda: _CREATE not in stage.idle() or opening.done(), "it is being opened")
        stage.user.cancel(order)
        stage.user.wait(lambda: _CLOSE not in stage.idle() or opening.done(), "it is to be closed")
        is_closed_first = time.monotonic() - began < _OPENING_SECONDS
        stage.breaks("pay.claim_check.before_commit", "delay:3.5")
        status = opening.result()
    if stage.undisturbed and is_closed_first and status == 200:
        raise Unexpected(f"a cashier is named for order {order.order_id}, which was cancelled")
    return {order: IS_CANCELLED}


@scenario("paid-while-asked", "a payment is paid while it is asked about, and that answer is lost")
def paid_while_asked(stage: ScenarioContext) -> Script:
    """A question that finds no answer, about a payment of which the callback has told."""
    order = stage.user.order(money_paid=1_00)
    yield
    stage.breaks(_ASK, "delay:0.5")  # half of what a call has: it is still made
    stage.breaks(_TOLD, "refuse")
    url = stage.user.cashier(order)
    stage.user.wait(lambda: _ASK not in stage.idle(), "the platform is about to be asked")
    stage.user.press(url)
    stage.user.sees_paid(order)
    return {order: IS_PAID}
