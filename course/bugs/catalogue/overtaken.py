"""Bugs of answers that were overtaken: true when they were said, and not when they were heard."""

from typing import Any

from sqlalchemy import update

from course.bugs.bug import bug
from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime.db.transaction import Transaction
from labkit.shop.pay import statements as rows
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.messages import DueCheck, TradeFound
from labkit.shop.states import PaymentState
from labkit.shop.tables import pay

no_trade_is_the_end = bug(
    "no-trade-is-the-end",
    "A trade that the platform does not know needs no closing there.",
    "closed-before-it-is-opened",
    breaks="nobody asks the platform",
    waits=True,
)


@no_trade_is_the_end.replaces("labkit.shop.pay.polling:_open_closed")
async def _(_shop: PayShop, due: DueCheck) -> TradeFound:
    return TradeFound(
        pay_id=due.pay_id, trade_status=TradeStatus.TRADE_CLOSED, total_amount=due.pay_amount
    )


cashier_of_an_ended_order = bug(
    "cashier-of-an-ended-order",
    "The order could be paid when we began.",
    "closed-before-it-is-opened",
    breaks="a cashier is named",
)


@cashier_of_an_ended_order.replaces("labkit.shop.pay.steps:note_trade")
def _(tx: Transaction, trade: TradeFound) -> Result[None]:
    tx.expect_update(rows.record_trade_no(trade.pay_id, str(trade.trade_no)))
    tx.run(rows.poll_now(trade.pay_id, tx.wall_ms))
    return Result[None].ok()


trouble_about_what_is_paid = bug(
    "trouble-about-what-is-paid",
    "It failed, so its row says why.",
    "paid-and-asked-about",
    breaks="what has ended waits for nothing",
)


@trouble_about_what_is_paid.replaces("labkit.shop.pay.statements:note_check_error")
def _(pay_id: int, _turn: int, error: str | None) -> Any:
    return update(pay).where(pay.c.pay_id == pay_id).values(last_error=error)


answer_wipes_the_cause = bug(
    "answer-wipes-the-cause",
    "The platform has answered, so what was wrong with an open payment is over.",
    "given-up-while-asked",
    breaks="the order says paid",
    waits=True,
)


@answer_wipes_the_cause.replaces("labkit.shop.pay.statements:note_check_error")
def _(pay_id: int, _turn: int, error: str | None) -> Any:
    is_open = (pay.c.pay_id == pay_id) & (pay.c.is_paid == PaymentState.OPEN)
    return update(pay).where(is_open).values(last_error=error)
