"""Reconciling (对账): the payment platform's bill beside the shop's own payments, row by row.

Each payment and each refund is one line, found by its number whatever its day: the platform's time
and ours may lie on two sides of midnight. A difference is either made right by asking the platform
about the payment, or needs a person.
"""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from io import StringIO
from operator import attrgetter
from typing import Any

from labkit.results import Message
from labkit.shop.states import PaymentState, RefundState


class LineKind(StrEnum):
    """The kind of a line: money that came, or went back."""

    PAYMENT = "payment"
    REFUND = "refund"


class Verdict(StrEnum):
    """The result of comparing a line of the bill with the shop's row."""

    MATCHED = "matched"
    MISSING_HERE = "missing here"
    MISSING_THERE = "missing there"
    AMOUNT_DIFFERS = "amount differs"
    STATE_DIFFERS = "state differs"


_COLUMNS = ["kind", "out_trade_no", "trade_no", "out_request_no", "amount", "time"]
#: A row of `trade_pay` or `trade_refund`.
Row = Mapping[str, Any]
#: The key by which lines and rows are compared: the kind, and the payment's or the refund's number.
Key = tuple[LineKind, int]


class BillLine(Message):
    """A line of the platform's bill.

    Attributes:
        out_request_no: our number of the refund; None for a payment.
        amount: cents.
    """

    kind: LineKind
    out_trade_no: int
    trade_no: str
    out_request_no: int | None
    amount: int
    time: datetime

    @property
    def key(self) -> Key:
        """Return the key of the payment or the refund."""
        return self.kind, self.out_request_no or self.out_trade_no


class ComparedLine(Message):
    """A payment or a refund, as the platform and the shop have it.

    Attributes:
        order_id: None if the shop has no such payment or refund.
        refund_id: None for a payment.
        there: cents at the platform; None if no money moved there.
        here: cents in the shop; None if no money moved here.
        repairable: whether asking the platform about the payment makes it right.
    """

    kind: LineKind
    order_id: int | None
    pay_id: int
    refund_id: int | None
    there: int | None
    here: int | None
    verdict: Verdict
    repairable: bool = False

    @property
    def key(self) -> Key:
        """Return the key of the payment or the refund."""
        return self.kind, self.refund_id or self.pay_id

    @property
    def birth(self) -> tuple[int, int]:
        """Return the sort key: the age of the payment, a refund after its payment."""
        return self.pay_id, self.refund_id or 0


def read_bill(text: str) -> list[BillLine]:
    """Read the lines of a bill as the platform writes it.

    Raises:
        ValueError: the text is no such bill.
    """
    rows = csv.DictReader(StringIO(text), strict=True)
    if rows.fieldnames != _COLUMNS:
        raise ValueError(f"this is no bill: its columns are {rows.fieldnames}")
    return [
        BillLine(
            kind=LineKind(row["kind"]),
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
) -> list[ComparedLine]:
    """Compare a day's bill with the shop's rows.

    Args:
        bill: of the day.
        payments: rows of `trade_pay` that were paid on that day, and those that the bill names.
        refunds: the same of `trade_refund`, with those that are still to be made.
        earlier: lines of the days before, for rows that the platform finished before the shop did.

    Returns:
        A line for each, the oldest payment first.
    """
    rows: dict[Key, Row] = {(LineKind.PAYMENT, row["pay_id"]): row for row in payments}
    rows |= {(LineKind.REFUND, row["refund_id"]): row for row in refunds}
    # a second line with the same key finds no row: that money is unknown to the shop
    lines = [_compare(billed, rows.pop(billed.key, None)) for billed in bill]
    before = {billed.key: billed for billed in earlier}
    old = [_compare(before[key], rows.pop(key)) for key in rows.keys() & before.keys()]
    lines += [line for line in old if line.verdict != Verdict.MATCHED]  # else of another day
    lines += [_missing_there(key, row) for key, row in rows.items() if _moves_money(key, row)]
    return sorted(lines, key=attrgetter("birth"))


def _compare(billed: BillLine, row: Row | None) -> ComparedLine:
    """Compare a line of the bill with the shop's row."""
    if row is None:
        number = billed.out_trade_no
        return _line(billed.key, number, None, billed.amount, None, Verdict.MISSING_HERE)
    amount = row["amount" if billed.kind == LineKind.REFUND else "pay_amount"]
    verdict, repairable = _judge(billed, row, amount)
    is_unpaid = billed.kind == LineKind.PAYMENT and row["is_paid"] != PaymentState.PAID
    here = None if repairable and is_unpaid else amount
    return _line(
        billed.key, row["pay_id"], row["order_id"], billed.amount, here, verdict, repairable
    )


def _judge(billed: BillLine, row: Row, amount: int) -> tuple[Verdict, bool]:
    """Return the verdict, and whether asking the platform makes it right."""
    if amount != billed.amount:
        return Verdict.AMOUNT_DIFFERS, False
    if row["pay_id"] != billed.out_trade_no or _has_other_trade(billed, row):
        return Verdict.STATE_DIFFERS, False
    if billed.kind == LineKind.REFUND:
        is_open = row["state"] != RefundState.REFUNDED
        return (Verdict.STATE_DIFFERS if is_open else Verdict.MATCHED), is_open
    if row["is_paid"] == PaymentState.PAID:
        return Verdict.MATCHED, False
    is_open = row["is_paid"] == PaymentState.OPEN
    return (Verdict.MISSING_HERE if is_open else Verdict.STATE_DIFFERS), True


def _has_other_trade(billed: BillLine, row: Row) -> bool:
    return row.get("trade_no") not in (None, billed.trade_no)


def _moves_money(key: Key, row: Row) -> bool:
    """Return True if the shop says that money moved, or is to move."""
    return key[0] == LineKind.REFUND or row["is_paid"] == PaymentState.PAID


def _missing_there(key: Key, row: Row) -> ComparedLine:
    is_refund = key[0] == LineKind.REFUND
    to_be_sent = is_refund and row["state"] != RefundState.REFUNDED
    amount = row["amount" if is_refund else "pay_amount"]
    verdict = Verdict.MISSING_THERE
    return _line(key, row["pay_id"], row["order_id"], None, amount, verdict, to_be_sent)


def _line(
    key: Key,
    pay_id: int,
    order_id: int | None,
    there: int | None,
    here: int | None,
    verdict: Verdict,
    repairable: bool = False,
) -> ComparedLine:
    kind, number = key
    return ComparedLine(
        kind=kind,
        order_id=order_id,
        pay_id=pay_id,
        refund_id=number if kind == LineKind.REFUND else None,
        there=there,
        here=here,
        verdict=verdict,
        repairable=repairable,
    )
