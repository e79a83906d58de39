"""Reconciliation of a business day: fetch the bill, compare, repair what has one answer, recheck.

A payment may be in flight meanwhile; so a difference is compared again before it is believed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Self

import httpx
from sqlalchemy import Column, ColumnElement, Table, and_, or_, select

from labkit.home import Home
from labkit.ops.reader import Reader, Row, Rows
from labkit.runtime.errors import Unknown
from labkit.runtime.rpc.tool_client import calls_from, run_beside
from labkit.shop.pay.bill import BillLine, ComparedLine, Key, LineKind, Verdict, compare, read_bill
from labkit.shop.pay.contract import PayService
from labkit.shop.pay.messages import FindPayment
from labkit.shop.states import PaymentState, RefundState
from labkit.shop.tables import pay, refund
from labkit.waiting import BlockingClock

_MAX_LOOKS = 3
_BETWEEN_LOOKS_S = 0.3
_TIMEOUT_S = 5.0
_MAX_CALLS = 16


class Repair(StrEnum):
    """States of the repair of a line that did not match."""

    REPAIRED = "repaired"
    REPAIRABLE = "can be repaired"
    FOR_A_PERSON = "needs a person"


@dataclass(frozen=True)
class ReconciledLine:
    """A line, and whether it was repaired.

    Attributes:
        line: as it was compared, before anything was repaired.
        repair: None where it matched.
        why: the reason why it could not be repaired; empty where there was none.
    """

    line: ComparedLine
    repair: Repair | None = None
    why: str = ""


class Reconciler:
    """Reconciles the days of one shop.

    Args:
        reader: of its databases.
        fetch: fetches the platform's bill of a day, as CSV.
        check: lets the pay service check payments at the platform; returns the reason of each
            failure.
        clock: what it waits by before it compares again.
    """

    def __init__(
        self,
        reader: Reader,
        fetch: Callable[[date], str],
        check: Callable[[set[int]], dict[int, str]],
        clock: BlockingClock = time,
    ) -> None:
        self._reader = reader
        self._fetch = fetch
        self._check_payments = check
        self._clock = clock

    @classmethod
    def of(cls, home: Home, reader: Reader) -> Self:
        """Return the reconciler of a running lab.

        Args:
            home: of the lab.
            reader: of its databases.
        """
        return cls(
            reader,
            partial(fetch_bill, home),
            lambda pay_ids: run_beside(_check_payments(home, pay_ids)),
        )

    def run(self, day: date, *, repair: bool = True) -> list[ReconciledLine]:
        """Compare a day, and repair it.

        Args:
            day: a business day.
            repair: repair what has one right answer.

        Raises:
            RuntimeError: there is no bill; says why.
        """
        lines = self._compare_until_sure(day)
        why: dict[int, str] = {}
        wrong = {line.key for line in lines if line.verdict != Verdict.MATCHED}
        if repair and (ids := {line.pay_id for line in lines if line.repairable}):
            why = self._check_payments(ids)
            after = self._compare(day)
            wrong &= {line.key for line in after if line.verdict != Verdict.MATCHED}
            keys = {line.key for line in lines}  # a refund that the repair has made is new
            lines += [
                line for line in after if line.verdict == Verdict.MATCHED and line.key not in keys
            ]
        lines.sort(key=attrgetter("birth"))
        return [_reconciled(line, line.key in wrong, why.get(line.pay_id, "")) for line in lines]

    def _compare_until_sure(self, day: date) -> list[ComparedLine]:
        """Compare until nothing differs, or the same differs each time; the rest is in flight."""
        lines = self._compare(day)
        doubtful = _differences(lines)
        for _ in range(_MAX_LOOKS - 1):
            if not doubtful:
                break
            self._clock.sleep(_BETWEEN_LOOKS_S)
            lines = self._compare(day)
            doubtful &= _differences(lines)
        return [
            line
            for line in lines
            if line.verdict == Verdict.MATCHED or (line.key, line.verdict) in doubtful
        ]

    def _compare(self, day: date) -> list[ComparedLine]:
        bill = self._bill(day)
        payments, refunds = self._payments(day, bill), self._refunds(day, bill)
        billed = {line.key for line in bill}
        unbilled = [row for row in payments if (LineKind.PAYMENT, row["pay_id"]) not in billed]
        unbilled += [row for row in refunds if (LineKind.REFUND, row["refund_id"]) not in billed]
        return compare(bill, payments, refunds, self._earlier_bills(day, unbilled))

    def _bill(self, day: date) -> list[BillLine]:
        return read_bill(self._fetch(day))

    def _earlier_bills(self, day: date, unbilled: Iterable[Row]) -> list[BillLine]:
        """Fetch the bills of the days since the first of these rows: its bill may have it."""
        first = min((row["add_time"].date() for row in unbilled), default=day)
        days = [first + timedelta(days=number) for number in range((day - first).days)]
        return [line for earlier in days for line in self._bill(earlier)]

    def _payments(self, day: date, bill: list[BillLine]) -> Rows:
        ids = [line.out_trade_no for line in bill]
        of_day = and_(pay.c.is_paid == PaymentState.PAID, pay.c.pay_time.between(*_bounds(day)))
        return self._rows(pay, of_day, pay.c.pay_id, ids)

    def _refunds(self, day: date, bill: list[BillLine]) -> Rows:
        ids = [line.out_request_no for line in bill if line.out_request_no]
        begin, end = _bounds(day)
        to_be_made = and_(refund.c.state != RefundState.REFUNDED, refund.c.add_time <= end)
        of_day = or_(refund.c.refund_time.between(begin, end), to_be_made)
        return self._rows(refund, of_day, refund.c.refund_id, ids)

    def _rows(
        self, table: Table, of_day: ColumnElement[bool], key: Column[int], ids: list[int]
    ) -> Rows:
        """Read the rows of a day, and those that a bill names."""
        rows = self._reader.query("pay", select(table).where(of_day))
        rows += self._reader.select_in("pay", select(table), key, ids)
        return list({row[key.name]: row for row in rows}.values())


def fetch_bill(home: Home, day: date) -> str:
    """Fetch the platform's bill of a business day, as CSV.

    Raises:
        RuntimeError: the platform gave none; says why.
    """
    url = f"{home.state()['endpoints']['platform']}/bill"
    try:
        answer = httpx.get(
            url, params={"day": day.isoformat()}, timeout=_TIMEOUT_S, trust_env=False
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        text = f"the payment platform gave no bill of {day}: {error}; see: labkit status"
        raise RuntimeError(text) from error
    return answer.text


async def check_payments(payments: PayService, pay_ids: set[int]) -> dict[int, str]:
    """Let the pay service check payments at the platform; return the reason of each failure."""
    slots = asyncio.Semaphore(_MAX_CALLS)

    async def check(pay_id: int) -> str:
        async with slots:
            try:
                answer = await payments.look_after_payment(FindPayment(pay_id=pay_id))
            except Unknown as unknown:
                return str(unknown)
            return "" if answer.success else answer.message

    reasons = await asyncio.gather(*map(check, pay_ids))
    return dict(zip(pay_ids, reasons, strict=True))


async def _check_payments(home: Home, pay_ids: set[int]) -> dict[int, str]:
    async with calls_from("reconcile", home, _TIMEOUT_S) as calls:
        return await check_payments(calls.stub(PayService, "pay"), pay_ids)


def _reconciled(line: ComparedLine, is_wrong: bool, why: str) -> ReconciledLine:
    if not is_wrong:
        return ReconciledLine(line, Repair.REPAIRED if line.verdict != Verdict.MATCHED else None)
    return ReconciledLine(line, Repair.REPAIRABLE if line.repairable else Repair.FOR_A_PERSON, why)


def _differences(lines: list[ComparedLine]) -> set[tuple[Key, Verdict]]:
    return {(line.key, line.verdict) for line in lines if line.verdict != Verdict.MATCHED}


def _bounds(day: date) -> tuple[datetime, datetime]:
    begin = datetime.combine(day, datetime.min.time())
    return begin, begin + timedelta(days=1, microseconds=-1)
