"""The bill (对账单): the payments and refunds of a business day, as CSV, for reconciling."""

import csv
import io
from datetime import datetime, time

from sqlalchemy import Executable, select

from labkit.payment_platform.messages import BillDay
from labkit.payment_platform.tables import refund, trade
from labkit.runtime.db.statements import statement
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step

COLUMNS = ("kind", "out_trade_no", "trade_no", "out_request_no", "amount", "time")


@statement
def _payments(begin: datetime, end: datetime) -> Executable:
    paid = select(trade.c.out_trade_no, trade.c.trade_no, trade.c.total_amount, trade.c.pay_time)
    of_day = (trade.c.pay_time >= begin) & (trade.c.pay_time <= end)
    return paid.where(of_day).order_by(trade.c.pay_time, trade.c.trade_no)


@statement
def _refunds(begin: datetime, end: datetime) -> Executable:
    of_trade = refund.join(trade, refund.c.out_trade_no == trade.c.out_trade_no)
    of_day = (refund.c.refund_time >= begin) & (refund.c.refund_time <= end)
    columns = select(
        refund.c.out_trade_no,
        trade.c.trade_no,
        refund.c.out_request_no,
        refund.c.amount,
        refund.c.refund_time,
    )
    order = (refund.c.refund_time, refund.c.out_request_no)
    return columns.select_from(of_trade).where(of_day).order_by(*order)


@step(reads=True)
def write_bill(tx: Transaction, query: BillDay) -> str:
    """Write the bill of a business day (UTC): a head, then a line for each payment and refund."""
    begin, end = datetime.combine(query.day, time.min), datetime.combine(query.day, time.max)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for number, trade_no, amount, at in tx.run(_payments(begin, end)).rows:
        lines.writerow(("payment", number, trade_no, "", amount, at.isoformat()))
    for number, trade_no, request_no, amount, at in tx.run(_refunds(begin, end)).rows:
        lines.writerow(("refund", number, trade_no, request_no, amount, at.isoformat()))
    return text.getvalue()
