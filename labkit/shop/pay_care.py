"""Looking after payments: asking the platform where no callback came, and sending refunds.

The callback is a favour that may never come. What the shop rests on is that it asks by itself.
"""

import asyncio
from typing import Any

from labkit.results import Code, Result
from labkit.runtime.letters import StuckThing
from labkit.runtime.steps import Unknown, flow
from labkit.shop import pay_by_hand, pay_schedule, payments
from labkit.shop.contracts import Shop
from labkit.shop.pay_messages import (
    TRADE_NOT_EXIST,
    AskTrade,
    Due,
    FindPayment,
    PaymentFound,
    PayTrouble,
    RefundTrade,
    TradeSeen,
)
from labkit.shop.tables import PAY_OPEN

_AT_ONCE = 16


@flow
async def look_after_payment(shop: Shop, command: FindPayment) -> Result[Any]:
    """Ask the platform about a payment, and send its refund, now: for who reconciles by hand."""
    found = await shop.run(payments.find_payment, command)
    if found.data is None:
        return Result[Any].no(Code(found.code), found.message)
    await shop.run(pay_by_hand.take_back_payment, StuckThing(number=command.pay_id))
    try:
        await _ask(shop, found.data)
    except Unknown as unknown:
        return Result[Any].no(Code.DEPENDENCY_AWAY, str(unknown))
    due = await shop.run(pay_schedule.find_refund_of, command)
    if due and (problem := await _send_refund(shop, due)):
        text = f"payment {command.pay_id}: its refund {due.id} is not made: {problem}"
        return Result[Any].no(Code.DEPENDENCY_AWAY, text)
    return Result[Any].ok(message=f"payment {command.pay_id}: the platform was asked")


@flow
async def check_payments(shop: Shop, _command: None) -> None:
    """Ask the platform about payments of which no callback came, and close what has ended."""
    await _each(shop, await shop.run(pay_schedule.find_due_checks, None), _check)


@flow
async def send_refunds(shop: Shop, _command: None) -> None:
    """Send refunds until the platform has answered: under its own id each is made once."""
    await _each(shop, await shop.run(pay_schedule.find_due_refunds, None), _send_refund)


async def _each(shop: Shop, dues: list[Due], work: Any) -> None:
    """Do so many at once, and no more: the platform is back after an outage, and all are due."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(due: Due) -> None:
        async with turn:
            await work(shop, due)

    await asyncio.gather(*(one(due) for due in dues))


async def _check(shop: Shop, due: Due) -> None:
    if not await shop.run(pay_schedule.claim_check, due):
        return
    found = await shop.run(payments.find_payment, FindPayment(pay_id=due.id))
    assert found.data  # it is due, so it is there
    try:
        await _ask(shop, found.data)
    except Unknown as unknown:
        trouble = PayTrouble(id=due.id, error=str(unknown))
        await shop.run(pay_schedule.note_check_trouble, trouble)


async def _ask(shop: Shop, payment: PaymentFound) -> None:
    """Query an open payment at the platform, close one that is closed here; take what it says."""
    about = AskTrade(order_id=payment.order_id, pay_id=payment.pay_id)
    ask = shop.platform.query_trade if payment.is_paid == PAY_OPEN else shop.platform.close_trade
    answer = await ask(about)
    trade = answer.data
    if trade is None:
        raise Unknown(answer.message)
    if trade.trade_status == TRADE_NOT_EXIST:  # the platform never heard of it, or not yet
        await shop.run(payments.forget_closed, FindPayment(pay_id=payment.pay_id))
        return
    taken = await shop.run(payments.take_payment, TradeSeen.of(trade))
    if not taken.success:
        raise Unknown(taken.message)


async def _send_refund(shop: Shop, due: Due) -> str:
    """Have the platform give money back, if it is ours to ask now; gives what stood against it."""
    refund = await shop.run(pay_schedule.claim_refund, due)
    if refund is None:
        return ""
    try:
        answer = await shop.platform.refund_trade(RefundTrade(**refund.model_dump()))
        problem = "" if answer.success else answer.message
    except Unknown as unknown:
        problem = str(unknown)
    if problem:
        trouble = PayTrouble(id=due.id, error=problem)
        await shop.run(pay_schedule.note_refund_trouble, trouble)
    else:
        await shop.run(payments.finish_refund, answer.data)
    return problem
