"""Trades (交易): opened by the merchant, paid or given up by the buyer, each moved once.

Every change of state is a compare-and-swap on the waiting state, so that of a payment, a close, a
giving up and an expiry that meet, exactly one wins; the winner notifies the merchant.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Executable, Update, select, update

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.messages import (
    CashierToken,
    CashierTrade,
    FindTrade,
    OpenTrade,
    TradeEnded,
)
from labkit.payment_platform.tables import trade
from labkit.results import Result
from labkit.runtime.db.compiled import Row
from labkit.runtime.db.statements import BoundStatement, statement
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.codes import Code

_Swap = Callable[[int, datetime], BoundStatement]


@statement
def _find(out_trade_no: int) -> Executable:
    return select(trade).where(trade.c.out_trade_no == out_trade_no)


@statement
def _find_by_token(token: str) -> Executable:
    return select(trade).where(trade.c.token == token)


@statement
def _pay(out_trade_no: int, now: datetime) -> Executable:
    """Set waiting and in time → paid."""
    swap = _swap(out_trade_no).where(trade.c.time_expire > now)
    return swap.values(trade_status=TradeStatus.TRADE_SUCCESS, pay_time=now)


@statement
def _close(out_trade_no: int, now: datetime) -> Executable:
    """Set waiting → closed."""
    return _swap(out_trade_no).values(trade_status=TradeStatus.TRADE_CLOSED, close_time=now)


def _swap(out_trade_no: int) -> Update:
    waiting = trade.c.trade_status == TradeStatus.WAIT_BUYER_PAY
    return update(trade).where(trade.c.out_trade_no == out_trade_no, waiting)


@step()
def create_trade(tx: Transaction, command: OpenTrade) -> Result[CashierTrade]:
    """Open a trade; the same number again gets the trade as it is now. Its amount never changes."""
    tx.insert_once(
        trade,
        **command.model_dump(),
        trade_no=tx.ids.next(),
        refunded_amount=0,
        trade_status=TradeStatus.WAIT_BUYER_PAY,
        add_time=tx.now,
    )
    row = _expire(tx, tx.first(_find(command.out_trade_no)))
    if row.total_amount != command.total_amount:
        text = f"it was opened over {row.total_amount} cents, not {command.total_amount}"
        return _refuse(tx, Code.IDEMPOTENCY_KEY_REUSED, row, text)
    return Result[CashierTrade].ok(_view(tx, row))


@step()
def query_trade(tx: Transaction, query: FindTrade) -> Result[CashierTrade]:
    """Query a trade. One whose time is over is closed first, so that the answer is final."""
    row = tx.first(_find(query.out_trade_no))
    return Result[CashierTrade].ok(_view(tx, _expire(tx, row))) if row else _missing(query)


@step()
def close_trade(tx: Transaction, command: FindTrade) -> Result[CashierTrade]:
    """Close a waiting trade. The answer tells its state then: it may have been paid before."""
    row = tx.first(_find(command.out_trade_no))
    return Result[CashierTrade].ok(_view(tx, _end(tx, _close, row))) if row else _missing(command)


@step(reads=True)
def find_cashier(tx: Transaction, query: CashierToken) -> Result[CashierTrade]:
    """Find the trade of a cashier page; one whose time is over is shown closed."""
    row = tx.first(_find_by_token(query.token))
    if row is None:
        return _missing(query)
    status = TradeStatus.TRADE_CLOSED if _is_over(tx, row) else row.trade_status
    return Result[CashierTrade].ok(_view(tx, row, status))


@step()
def pay_trade(tx: Transaction, command: CashierToken) -> Result[CashierTrade]:
    """Pay a waiting trade, once and in time (确认付款); a second press finds it paid."""
    row = tx.first(_find_by_token(command.token))
    if row is None:
        return _missing(command)
    row = _expire(tx, _end(tx, _pay, row))
    if row.trade_status == TradeStatus.TRADE_CLOSED:
        return _refuse(tx, Code.PAYMENT_ERROR, row, "it is closed and can no longer be paid")
    return Result[CashierTrade].ok(_view(tx, row), f"trade {row.trade_no} is paid")


@step()
def give_up_trade(tx: Transaction, command: CashierToken) -> Result[CashierTrade]:
    """Close a trade that the buyer does not want to pay (放弃付款)."""
    row = tx.first(_find_by_token(command.token))
    if row is None:
        return _missing(command)
    row = _end(tx, _close, row)
    if row.trade_status == TradeStatus.TRADE_SUCCESS:
        return _refuse(tx, Code.PAYMENT_ALREADY_PAID, row, "it is paid and cannot be given up")
    return Result[CashierTrade].ok(_view(tx, row), f"trade {row.trade_no} is closed")


def _end(tx: Transaction, swap: _Swap, row: Row) -> Row:
    """End a trade if it still waits, and notify the merchant; return the trade as it is then."""
    if not tx.expect_update(swap(row.out_trade_no, tx.now)):
        return tx.first(_find(row.out_trade_no))
    tx.emit(TradeEnded(order_id=row.out_trade_no))
    return tx.first(_find(row.out_trade_no))


def _expire(tx: Transaction, row: Row) -> Row:
    """Close a trade whose time to be paid is over; return the trade as it is then."""
    return _end(tx, _close, row) if _is_over(tx, row) else row


def _is_over(tx: Transaction, row: Row) -> bool:
    return bool(row.trade_status == TradeStatus.WAIT_BUYER_PAY and row.time_expire <= tx.now)


def _view(tx: Transaction, row: Row, trade_status: str = "") -> CashierTrade:
    return CashierTrade(
        token=row.token,
        out_trade_no=str(row.out_trade_no),
        trade_no=str(row.trade_no),
        subject=row.subject,
        total_amount=row.total_amount,
        trade_status=trade_status or row.trade_status,
        time_expire=row.time_expire,
        pay_time=row.pay_time,
        close_time=row.close_time,
        now=tx.now,
    )


def _refuse(tx: Transaction, code: Code, row: Row, reason: str) -> Result[CashierTrade]:
    text = f"trade {row.trade_no}: {reason}"
    return Result[CashierTrade].refused(code, text, _view(tx, row))


def _missing(query: FindTrade | CashierToken) -> Result[CashierTrade]:
    number = f" {query.out_trade_no}" if isinstance(query, FindTrade) else ""  # no token in a text
    return Result[CashierTrade].refused(Code.PAYMENT_NOT_FOUND, f"there is no trade{number}")
