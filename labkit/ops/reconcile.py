"""Reconciling a business day: fetch the bill, compare, repair what has one answer, look again.

A payment may be on its way meanwhile; so what differs is looked at again before it is believed.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any

import httpx
from sqlalchemy import Column, Table, and_, or_, select

from labkit.home import Home
from labkit.ops.reader import Reader, Rows
from labkit.runtime.errors import Unknown
from labkit.runtime.rpc.tool_client import calls_from, run_beside
from labkit.shop.pay.bill import MATCHED, PAYMENT, REFUND, BillLine, Key, Line, compare, read_bill
from labkit.shop.pay.contract import PayService
from labkit.shop.pay_messages import FindPayment
from labkit.shop.tables import PAY_PAID, REFUNDED, pay, refund

REPAIRED, REPAIRABLE, FOR_A_PERSON = "repaired", "can be repaired", "needs a person"
_LOOKS = 3
_BETWEEN_LOOKS = 0.3
_SECONDS = 5.0
_AT_ONCE = 16


@dataclass(frozen=True)
class Outcome:
    """A line, and what came of it.

    Attributes:
        line: as it was found, before anything was repaired.
        done: empty where it matched.
        why: what stood against repairing it; empty where nothing did.
    """

    line: Line
    done: str = ""
    why: str = ""


class Reconciler:
    """Reconciles the days of one home.

    Args:
        home: of a running lab.
        reader: of its databases.
    """

    def __init__(self, home: Home, reader: Reader) -> None:
        self._home = home
        self._reader = reader

    def run(self, day: date, *, repair: bool = True) -> list[Outcome]:
        """Compare a day, and repair it.

        Args:
            day: a business day.
            repair: whether to repair what has one right answer.

        Raises:
            RuntimeError: there is no bill; says why.
        """
        found = self._look_until_sure(day)
        why: dict[int, str] = {}
        wrong = {one.key for one in found if one.found != MATCHED}
        if repair and (ids := {one.pay_id for one in found if one.repairable}):
            why = self._ask_about(ids)
            after = self._look(day)
            wrong &= {one.key for one in after if one.found != MATCHED}
            known = {one.key for one in found}  # what was given back meanwhile is new
            found += [one for one in after if one.found == MATCHED and one.key not in known]
        found.sort(key=attrgetter("born"))
        return [_outcome(one, one.key in wrong, why.get(one.pay_id, "")) for one in found]

    def _look_until_sure(self, day: date) -> list[Line]:
        """Look until nothing differs, or the same does each time; what is new is on its way."""
        found = self._look(day)
        doubtful = _wrong(found)
        for _ in range(_LOOKS - 1):
            if not doubtful:
                break
            time.sleep(_BETWEEN_LOOKS)
            found = self._look(day)
            doubtful &= _wrong(found)
        return [one for one in found if one.found == MATCHED or (one.key, one.found) in doubtful]

    def _look(self, day: date) -> list[Line]:
        bill = self._bill(day)
        payments, refunds = self._payments(day, bill), self._refunds(day, bill)
        billed = {line.key for line in bill}
        left = [row for row in payments if (PAYMENT, row["pay_id"]) not in billed]
        left += [row for row in refunds if (REFUND, row["refund_id"]) not in billed]
        return compare(bill, payments, refunds, self._earlier(day, left))

    def _bill(self, day: date) -> list[BillLine]:
        return read_bill(fetch_bill(self._home, day))

    def _earlier(self, day: date, left: Iterable[dict[str, Any]]) -> list[BillLine]:
        """The bills of the days on which the platform may have done what we noted on this day."""
        first = min((row["add_time"].date() for row in left), default=day)
        days = [first + timedelta(days=number) for number in range((day - first).days)]
        return [line for one in days for line in self._bill(one)]

    def _payments(self, day: date, bill: list[BillLine]) -> Rows:
        named = [line.out_trade_no for line in bill]
        of_day = and_(pay.c.is_paid == PAY_PAID, pay.c.pay_time.between(*_bounds(day)))
        return self._rows(pay, of_day, pay.c.pay_id, named)

    def _refunds(self, day: date, bill: list[BillLine]) -> Rows:
        named = [line.out_request_no for line in bill if line.out_request_no]
        begin, end = _bounds(day)
        to_be_made = and_(refund.c.state != REFUNDED, refund.c.add_time <= end)
        of_day = or_(refund.c.refund_time.between(begin, end), to_be_made)
        return self._rows(refund, of_day, refund.c.refund_id, named)

    def _rows(self, table: Table, of_day: Any, key: Column[Any], named: list[int]) -> Rows:
        """The rows of a day, and those that a bill names."""
        found = self._reader.query("pay", select(table).where(of_day))
        found += self._reader.among("pay", select(table), key, named)
        return list({row[key.name]: row for row in found}.values())

    def _ask_about(self, pay_ids: set[int]) -> dict[int, str]:
        """Have the pay service ask the platform about payments; why it could not, for each."""
        return run_beside(_ask_about(self._home, pay_ids))


def fetch_bill(home: Home, day: date) -> str:
    """The platform's bill of a business day, as it came.

    Raises:
        RuntimeError: the platform gave none; says why.
    """
    url = f"{home.state()['endpoints']['platform']}/bill"
    try:
        answer = httpx.get(url, params={"day": day.isoformat()}, timeout=_SECONDS, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        text = f"the payment platform gave no bill of {day}: {error}; see: labkit status"
        raise RuntimeError(text) from error
    return answer.text


async def _ask_about(home: Home, pay_ids: set[int]) -> dict[int, str]:
    turn = asyncio.Semaphore(_AT_ONCE)

    async def ask(payments: PayService, pay_id: int) -> str:
        async with turn:
            try:
                answer = await payments.look_after_payment(FindPayment(pay_id=pay_id))
            except Unknown as unknown:
                return str(unknown)
            return "" if answer.success else answer.message

    async with calls_from("reconcile", home, _SECONDS) as calls:
        payments = calls.stub(PayService, "pay")
        told = await asyncio.gather(*(ask(payments, pay_id) for pay_id in pay_ids))
    return dict(zip(pay_ids, told, strict=True))


def _outcome(line: Line, wrong: bool, why: str) -> Outcome:
    if not wrong:
        return Outcome(line, REPAIRED if line.found != MATCHED else "")
    return Outcome(line, REPAIRABLE if line.repairable else FOR_A_PERSON, why)


def _wrong(lines: list[Line]) -> set[tuple[Key, str]]:
    return {(line.key, line.found) for line in lines if line.found != MATCHED}


def _bounds(day: date) -> tuple[datetime, datetime]:
    begin = datetime.combine(day, datetime.min.time())
    return begin, begin + timedelta(days=1, microseconds=-1)
