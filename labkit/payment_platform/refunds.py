"""Refunds (退款) of paid trades, once under each request number."""

from sqlalchemy import Executable, select, update

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.messages import Refund, Refunded
from labkit.payment_platform.tables import refund, trade
from labkit.results import Result
from labkit.runtime.db.compiled import Row
from labkit.runtime.db.statements import statement
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.codes import Code


@statement
def _find(out_request_no: int) -> Executable:
    return select(refund).where(refund.c.out_request_no == out_request_no)


@statement
def _add_refund(out_trade_no: int, cents: int) -> Executable:
    """Add to the refunded amount of a trade that is paid and has so much left."""
    more = trade.c.refunded_amount + cents
    able = (trade.c.trade_status == TradeStatus.TRADE_SUCCESS) & (more <= trade.c.total_amount)
    mine = trade.c.out_trade_no == out_trade_no
    return update(trade).where(mine, able).values(refunded_amount=more)


@statement
def _trade(out_trade_no: int) -> Executable:
    return select(trade).where(trade.c.out_trade_no == out_trade_no)


@step()
def refund_trade(tx: Transaction, command: Refund) -> Result[Refunded]:
    """Refund money of a paid trade, never more than was paid; the same request again, once."""
    earlier = tx.first(_find(command.out_request_no))
    if earlier is not None:
        return _again(command, earlier)
    if not tx.expect_update(_add_refund(command.out_trade_no, command.refund_amount)):
        return _refuse(command, tx.first(_trade(command.out_trade_no)))
    tx.insert(
        refund,
        out_request_no=command.out_request_no,
        out_trade_no=command.out_trade_no,
        amount=command.refund_amount,
        refund_time=tx.now,
    )
    return _done(command)


def _again(command: Refund, earlier: Row) -> Result[Refunded]:
    if (earlier.out_trade_no, earlier.amount) == (command.out_trade_no, command.refund_amount):
        return _done(command)
    text = (
        f"refund {command.out_request_no}: it was of {earlier.amount} cents"
        f" of trade {earlier.out_trade_no}; take another number"
    )
    return Result[Refunded].refused(Code.IDEMPOTENCY_KEY_REUSED, text)


def _refuse(command: Refund, row: Row) -> Result[Refunded]:
    about = f"refund {command.out_request_no}: trade {command.out_trade_no}"
    if row is None:
        return Result[Refunded].refused(Code.PAYMENT_NOT_FOUND, f"{about} does not exist")
    if row.trade_status != TradeStatus.TRADE_SUCCESS:
        return Result[Refunded].refused(
            Code.PAYMENT_ERROR, f"{about} is {row.trade_status}, not paid"
        )
    rest = row.total_amount - row.refunded_amount
    text = f"{about} has {rest} cents left, {command.refund_amount} were asked for"
    return Result[Refunded].refused(Code.MONEY_MORE_THAN_AMOUNT, text)


def _done(command: Refund) -> Result[Refunded]:
    return Result[Refunded].ok(Refunded(**command.model_dump()))
