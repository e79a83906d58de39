"""Looking after payments: asking the platform where no callback came, and sending refunds.

The callback is a favour that may never come. What the shop rests on is that it asks by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime import Step, StuckItem, Unknown, flow
from labkit.shop.codes import Code
from labkit.shop.pay import manual, retries, steps
from labkit.shop.pay.context import PayShop
from labkit.shop.pay_messages import (
    AskTrade,
    CheckDue,
    CreateTrade,
    DueQuery,
    FindPayment,
    PayTrouble,
    RefundDue,
    RefundTrade,
    TradeFound,
    TradeRefunded,
    TradeSeen,
)
from labkit.shop.states import PaymentState

#: How many questions, and how many refunds, one instance has under way at most. Together they
#: leave some of the platform client's 64 connections to those who open payments.
_AT_ONCE = 24
_CLAIMED_AT_LEAST = 8  # while more is due than there is room for

D = TypeVar("D", CheckDue, RefundDue)


@flow
async def look_after_payment(shop: PayShop, command: FindPayment) -> Result[None]:
    """Ask the platform about a payment, and send its refund, now: for who reconciles by hand."""
    found = await shop.run(steps.find_payment, command)
    if found.data is None:
        return Result[None].forward(found)
    await shop.run(manual.take_back_payment, StuckItem(number=command.pay_id))
    try:
        await _ask(shop, await shop.run(retries.find_check, command))
    except Unknown as unknown:
        return Result[None].refused(Code.DEPENDENCY_AWAY, str(unknown))
    refund = await shop.run(retries.find_refund_of, command)
    if refund and (problem := await _send_refund(shop, refund)):
        text = f"payment {command.pay_id}: its refund {refund.refund_id} is not made: {problem}"
        return Result[None].refused(Code.DEPENDENCY_AWAY, text)
    return Result[None].ok(message=f"payment {command.pay_id}: the platform was asked")


@flow
async def check_payments(shop: PayShop, _command: None) -> None:
    """Ask the platform about payments of which no callback came, and close what has ended."""
    await _work_off(shop, retries.find_due_checks, retries.claim_check, _check)


@flow
async def send_refunds(shop: PayShop, _command: None) -> None:
    """Send refunds until the platform has answered: under its own id each is made once."""
    await _work_off(shop, retries.find_due_refunds, retries.claim_refund, _send_refund)


async def _work_off(
    shop: PayShop,
    find: Step[Any, list[int]],
    claim: Step[Any, list[D]],
    work: Callable[[PayShop, D], Awaitable[Any]],
) -> None:
    """Claim what is due and work on it, as much at once as there is room, until nothing is left.

    A slow answer keeps its own place and no other: what falls due meanwhile is claimed as well.
    """
    errors: list[Exception] = []

    async def guarded(due: D) -> None:
        try:
            await work(shop, due)
        except Exception as error:  # the others go on; whoever runs this sweep is told
            errors.append(error)

    under_way: set[asyncio.Task[None]] = set()
    try:
        while not errors:
            room = _AT_ONCE - len(under_way)
            claimed: list[D] = []
            if await shop.run(find, DueQuery(limit=1)):
                claimed = await shop.run(claim, DueQuery(limit=room))
            under_way |= {asyncio.create_task(guarded(due)) for due in claimed}
            if not under_way:
                return
            under_way = await _wait_for_room(shop, under_way, is_full=len(claimed) == room)
        if under_way:
            await asyncio.wait(under_way)
        raise errors[0]
    finally:
        for task in under_way:
            task.cancel()


async def _wait_for_room(
    shop: PayShop, under_way: set[asyncio.Task[None]], *, is_full: bool
) -> set[asyncio.Task[None]]:
    """Wait until it is worth the while to claim more; return what is under way still."""
    if not is_full:  # all that was due is under way
        _, under_way = await asyncio.wait(under_way, timeout=shop.settings.sweep_interval)
    while len(under_way) > _AT_ONCE - _CLAIMED_AT_LEAST:
        _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    return under_way


async def _check(shop: PayShop, due: CheckDue) -> None:
    try:
        await _ask(shop, due)
    except Unknown as unknown:
        await _note(shop, due, str(unknown))


async def _note(shop: PayShop, due: CheckDue, error: str | None) -> None:
    if due.turn is not None:
        trouble = PayTrouble(id=due.pay_id, turn=due.turn, error=error)
        await shop.run(retries.note_check_trouble, trouble)


async def _ask(shop: PayShop, due: CheckDue) -> None:
    """Query an open payment at the platform, close one that is closed here; take what it says."""
    ask = (
        shop.platform.query_trade if due.is_paid == PaymentState.OPEN else shop.platform.close_trade
    )
    trade = _trade(await ask(AskTrade(order_id=due.order_id, pay_id=due.pay_id)))
    if trade.trade_status == TradeStatus.TRADE_NOT_EXIST and due.is_paid != PaymentState.OPEN:
        trade = await _open_closed(shop, due)
    if trade.trade_status != TradeStatus.TRADE_NOT_EXIST:
        taken = await shop.run(steps.take_payment, TradeSeen.of(trade))
        if not taken.success:
            raise Unknown(taken.message)
    if due.troubled:
        await _note(shop, due, None)


async def _open_closed(shop: PayShop, due: CheckDue) -> TradeFound:
    """Open the trade of a payment that has ended, so that it is closed there as well.

    The platform has never heard of it, but the request to open it may be on its way still. That a
    trade does not exist is no last word; that it is closed is. So it is opened here with its time
    over, which closes it, and who comes later with the same number finds it closed. (The same
    thought leaves `blocked` where a compensation comes before its step.)
    """
    return _trade(
        await shop.platform.create_trade(
            CreateTrade(
                order_id=due.order_id,
                pay_id=due.pay_id,
                subject=f"payment {due.pay_id}, which has ended",
                total_amount=due.pay_amount,
                time_expire=due.add_time,
            )
        )
    )


def _trade(answer: Result[TradeFound]) -> TradeFound:
    if answer.data is None:
        raise Unknown(answer.message)
    return answer.data


async def _send_refund(shop: PayShop, due: RefundDue) -> str:
    """Have the platform give money back; return why it did not, or nothing."""
    try:
        command = RefundTrade(**due.model_dump(exclude={"turn"}))
        answer = await shop.platform.refund_trade(command)
    except Unknown as unknown:
        answer = Result[TradeRefunded].refused(Code.DEPENDENCY_AWAY, str(unknown))
    if answer.data is not None:
        await shop.run(steps.finish_refund, answer.data)
        return ""
    trouble = PayTrouble(id=due.refund_id, turn=due.turn, error=answer.message)
    await shop.run(retries.note_refund_trouble, trouble)
    return answer.message
