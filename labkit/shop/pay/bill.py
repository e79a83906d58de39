"""Reconciling (对账): the payment platform's bill beside the shop's own payments, row by row.

Each payment and each refund is one line, found by its number whatever its day: the platform's time
and ours may lie on two sides of midnight. What differs has one right answer, which asking the
platform about the payment brings about, or needs a person.
"""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime
from io import StringIO
from operator import attrgetter
from typing import Any

from labkit.results import Message
from labkit.shop.states import PaymentState, RefundState

PAYMENT, REFUND = "payment", "refund"
MATCHED, MISSING_HERE, MISSING_THERE = "matched", "missing here", "missing there"
AMOUNT_DIFFERS, STATE_DIFFERS = "amount differs", "state differs"

_COLUMNS = ["kind", "out_trade_no", "trade_no", "out_request_no", "amount", "time"]
#: A row of `trade_pay` or `trade_refund`.
Row = Mapping[str, Any]
#: What is compared: the kind, and the number of the payment or the refund.
Key = tuple[str, int]


class BillLine(Message):
    """A line of the platform's bill: money that came, or went back.

    Attributes:
        out_request_no: our number of the refund; None where money came.
        amount: cents.
    """

    kind: str
    out_trade_no: int
    trade_no: str
    out_request_no: int | None
    amount: int
    time: datetime

    @property
    def key(self) -> Key:
        """What it is a line about."""
        return self.kind, self.out_request_no or self.out_trade_no


class Line(Message):
    """A payment or a refund, as the platform and the shop have it.

    Attributes:
        order_id: None where the shop knows nothing of it; so is `refund_id` for a payment.
        there: cents at the platform; None where no money moved there.
        here: cents in the shop; None where no money moved here.
        found: one of the words above.
        repairable: whether asking the platform about the payment makes it right.
    """

    kind: str
    order_id: int | None
    pay_id: int
    refund_id: int | None
    there: int | None
    here: int | None
    found: str
    repairable: bool = False

    @property
    def key(self) -> Key:
        """What it is a line about."""
        return self.kind, self.refund_id or self.pay_id

    @property
    def born(self) -> tuple[int, int]:
        """Its place among others: by the birth of the payment, what went back after what came."""
        return self.pay_id, self.refund_id or 0


def read_bill(text: str) -> list[BillLine]:
    """The lines of a bill as the platform writes it.

    Raises:
        ValueError: it is no such bill.
    """
    rows = csv.DictReader(StringIO(text), strict=True)
    if rows.fieldnames != _COLUMNS:
        raise ValueError(f"this is no bill: its columns are {rows.fieldnames}")
    return [
        BillLine(
            kind=row["kind"],
            out_trade_no=int(row["out_trade_no"]),
            trade_no=row["trade_no"],
            out_request_no=int(row["out_request_no"]) if row["out_request_no"] else None,
            amount=int(row["amount"]),
            time=datetime.fromisoformat(row["time"]),
        )
        for row in rows
    ]


def compare(
    bill: Iterable[BillLine],
    payments: Iterable[Row],
    refunds: Iterable[Row],
    earlier: Iterable[BillLine] = (),
) -> list[Line]:
    """Compare a day's bill with the shop's rows.

    Args:
        bill: of the day.
        payments: rows of `trade_pay` that were paid on that day, and those that the bill names.
        refunds: the same of `trade_refund`, with those that are to be made still.
        earlier: lines of the days before, for rows of which the platform was quicker than we.

    Returns:
        A line for each, in the order in which the payments were born.
    """
    here: dict[Key, Row] = {(PAYMENT, row["pay_id"]): row for row in payments}
    here |= {(REFUND, row["refund_id"]): row for row in refunds}
    lines = []
    for billed in bill:  # a second line about the same would be money that we know nothing of
        lines.append(_judge(billed, here.pop(billed.key, None)))
    before = {billed.key: billed for billed in earlier}
    for key in here.keys() & before.keys():  # matched, it is a line of another day
        lines += [one for one in (_judge(before[key], here.pop(key)),) if one.found != MATCHED]
    lines += [_missing_there(key, row) for key, row in here.items() if _moved(key, row)]
    return sorted(lines, key=attrgetter("born"))


def _judge(billed: BillLine, row: Row | None) -> Line:
    """A line of the bill beside the shop's row."""
    if row is None:
        return _line(billed.key, billed.out_trade_no, None, billed.amount, None, MISSING_HERE)
    amount = row["amount" if billed.kind == REFUND else "pay_amount"]
    told: dict[str, Any] = {"there": billed.amount, "here": amount}
    if amount != billed.amount:
        found = AMOUNT_DIFFERS
    elif row["pay_id"] != billed.out_trade_no or _other_trade(billed, row):
        found = STATE_DIFFERS
    elif billed.kind == REFUND:
        still_open = row["state"] != RefundState.REFUNDED
        found = STATE_DIFFERS if still_open else MATCHED
        told["repairable"] = still_open
    elif row["is_paid"] == PaymentState.PAID:
        found = MATCHED
    else:
        found = MISSING_HERE if row["is_paid"] == PaymentState.OPEN else STATE_DIFFERS
        told |= {"here": None, "repairable": True}
    return _line(billed.key, row["pay_id"], row["order_id"], found=found, **told)


def _other_trade(billed: BillLine, row: Row) -> bool:
    return row.get("trade_no") not in (None, billed.trade_no)


def _moved(key: Key, row: Row) -> bool:
    """Whether the shop says that money moved, or is to move."""
    return key[0] == REFUND or row["is_paid"] == PaymentState.PAID


def _missing_there(key: Key, row: Row) -> Line:
    to_be_sent = key[0] == REFUND and row["state"] != RefundState.REFUNDED
    amount = row["amount" if key[0] == REFUND else "pay_amount"]
    return _line(key, row["pay_id"], row["order_id"], None, amount, MISSING_THERE, to_be_sent)


def _line(
    key: Key,
    pay_id: int,
    order_id: int | None,
    there: int | None,
    here: int | None,
    found: str,
    repairable: bool = False,
) -> Line:
    kind, number = key
    return Line(
        kind=kind,
        order_id=order_id,
        pay_id=pay_id,
        refund_id=number if kind == REFUND else None,
        there=there,
        here=here,
        found=found,
        repairable=repairable,
    )
