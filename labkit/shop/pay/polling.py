"""Polling: asking the platform about payments without a callback, and sending refunds.

A callback may never come. The shop does not rely on it, but on asking by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime import Step, StuckItem, Unknown, flow
from labkit.shop.codes import Code
from labkit.shop.pay import manual, retries, steps
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.messages import (
    AskTrade,
    AttemptFailure,
    CreateTrade,
    DueCheck,
    DueQuery,
    DueRefund,
    FindPayment,
    RefundTrade,
    TradeFound,
    TradeRefunded,
    TradeReport,
)
from labkit.shop.states import PaymentState

#: Concurrent queries, and concurrent refunds, of one instance. Together they leave some of the
#: platform client's 64 connections to the flows that open payments.
_MAX_CONCURRENT = 24
_MIN_CLAIMED = 8  # while more is due than fits

D = TypeVar("D", DueCheck, DueRefund)


@flow
async def look_after_payment(shop: PayShop, command: FindPayment) -> Result[None]:
    """Ask the platform about a payment, and send its refund, now: for a manual reconciliation."""
    payment = await shop.run(steps.find_payment, command)
    if payment.data is None:
        return Result[None].forward(payment)
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
    """Ask the platform about payments without a callback, and close those that have ended."""
    await _run_due(shop, retries.find_due_checks, retries.claim_check, _check)


@flow
async def send_refunds(shop: PayShop, _command: None) -> None:
    """Send refunds until the platform has answered; it makes each refund id once."""
    await _run_due(shop, retries.find_due_refunds, retries.claim_refund, _send_refund)


async def _run_due(
    shop: PayShop,
    find: Step[DueQuery, list[int]],
    claim: Step[DueQuery, list[D]],
    work: Callable[[PayShop, D], Awaitable[object]],
) -> None:
    """Claim what is due and work on it, up to `_MAX_CONCURRENT` at once, until nothing is left.

    A slow answer blocks one place only: what falls due meanwhile is claimed as well.
    """
    errors: list[Exception] = []

    async def guarded(due: D) -> None:
        try:
            await work(shop, due)
        except Exception as error:  # the others go on; the sweep raises it at its end
            errors.append(error)

    under_way: set[asyncio.Task[None]] = set()
    try:
        while not errors:
            space = _MAX_CONCURRENT - len(under_way)
            claimed: list[D] = []
            if await shop.run(find, DueQuery(limit=1)):
                claimed = await shop.run(claim, DueQuery(limit=space))
            under_way |= {asyncio.create_task(guarded(due)) for due in claimed}
            if not under_way:
                return
            under_way = await _wait_for_space(shop, under_way, is_full=len(claimed) == space)
        if under_way:
            await asyncio.wait(under_way)
        raise errors[0]
    finally:
        for task in under_way:
            task.cancel()


async def _wait_for_space(
    shop: PayShop, under_way: set[asyncio.Task[None]], *, is_full: bool
) -> set[asyncio.Task[None]]:
    """Wait until it is worthwhile to claim more; return the tasks that still run."""
    if not is_full:  # everything due is under way
        _, under_way = await asyncio.wait(under_way, timeout=shop.settings.sweep_interval)
    while len(under_way) > _MAX_CONCURRENT - _MIN_CLAIMED:
        _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    return under_way


async def _check(shop: PayShop, due: DueCheck) -> None:
    try:
        await _ask(shop, due)
    except Unknown as unknown:
        await _note(shop, due, str(unknown))


async def _note(shop: PayShop, due: DueCheck, error: str | None) -> None:
    if due.lease_until is not None:
        failure = AttemptFailure(id=due.pay_id, lease_until=due.lease_until, error=error)
        await shop.run(retries.note_check_trouble, failure)


async def _ask(shop: PayShop, due: DueCheck) -> None:
    """Query an open payment at the platform, or close one that is closed here; apply the answer."""
    ask = (
        shop.platform.query_trade if due.is_paid == PaymentState.OPEN else shop.platform.close_trade
    )
    trade = _trade(await ask(AskTrade(order_id=due.order_id, pay_id=due.pay_id)))
    if trade.trade_status == TradeStatus.TRADE_NOT_EXIST and due.is_paid != PaymentState.OPEN:
        trade = await _open_closed(shop, due)
    if trade.trade_status != TradeStatus.TRADE_NOT_EXIST:
        applied = await shop.run(steps.take_payment, TradeReport.of(trade))
        if not applied.success:
            raise Unknown(applied.message)
    if due.troubled:
        await _note(shop, due, None)


async def _open_closed(shop: PayShop, due: DueCheck) -> TradeFound:
    """Open the trade of a payment that has ended, so that it is closed there as well.

    The platform does not know the trade, but the request to open it may still be on its way. "It
    does not exist" is not final; "it is closed" is. So this opens the trade with its time over,
    which closes it, and a later request with the same number finds it closed. (For the same reason
    a compensation that comes before its step leaves `blocked`.)
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


async def _send_refund(shop: PayShop, due: DueRefund) -> str:
    """Ask the platform to make a refund; return why it did not, or nothing."""
    try:
        command = RefundTrade(**due.model_dump(exclude={"lease_until"}))
        answer = await shop.platform.refund_trade(command)
    except Unknown as unknown:
        answer = Result[TradeRefunded].refused(Code.DEPENDENCY_AWAY, str(unknown))
    if answer.data is not None:
        await shop.run(steps.finish_refund, answer.data)
        return ""
    failure = AttemptFailure(id=due.refund_id, lease_until=due.lease_until, error=answer.message)
    await shop.run(retries.note_refund_trouble, failure)
    return answer.message
