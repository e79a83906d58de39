"""Reconciling, as a pure function: every way in which bill and shop can differ, in any mixture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.payment_platform.bill import COLUMNS
from labkit.shop.pay.bill import BillLine, LineKind, Verdict, compare, read_bill
from labkit.shop.states import PaymentState, RefundState

NOON = datetime(2026, 1, 5, 12)
CENTS = 4_880_00
Expected = tuple[str, str, bool]


@dataclass
class Day:
    """A day's bill and rows, as cases add to them."""

    bill: list[BillLine] = field(default_factory=list)
    earlier: list[BillLine] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)

    def billed(self, pay_id: int, refund_id: int | None = None, **other: Any) -> None:
        kind = LineKind.REFUND if refund_id else LineKind.PAYMENT
        lines = self.earlier if other.pop("yesterday", False) else self.bill
        line = {"amount": CENTS, "trade_no": f"{pay_id}77", "time": NOON, **other}
        lines.append(BillLine(kind=kind, out_trade_no=pay_id, out_request_no=refund_id, **line))

    def paid(self, pay_id: int, is_paid: int = PaymentState.PAID, **other: Any) -> None:
        row = {"order_id": pay_id - 1, "pay_amount": CENTS, "trade_no": f"{pay_id}77", **other}
        self.payments.append({"pay_id": pay_id, "is_paid": is_paid, **row})

    def refunded(self, pay_id: int, state: int = RefundState.REFUNDED, **other: Any) -> None:
        row = {"refund_id": pay_id + 1, "order_id": pay_id - 1, "amount": CENTS, **other}
        self.refunds.append({"pay_id": pay_id, "state": state, **row})


def case(*expected: Expected) -> Callable[[Any], Any]:
    """A way in which one payment can stand, and the lines that are to be found of it."""

    def add(put: Callable[[Day, int], None]) -> Callable[[Day, int], None]:
        CASES[put] = expected
        return put

    return add


CASES: dict[Callable[[Day, int], None], tuple[Expected, ...]] = {}


@case((LineKind.PAYMENT, Verdict.MATCHED, False))
def the_same_on_both_sides(day: Day, number: int) -> None:
    day.billed(number)
    day.paid(number)


@case()
def nobody_has_paid(day: Day, number: int) -> None:
    day.paid(number, PaymentState.OPEN)


@case()
def closed_on_both_sides(day: Day, number: int) -> None:
    day.paid(number, PaymentState.CLOSED)


@case((LineKind.PAYMENT, Verdict.MISSING_HERE, True))
def a_callback_was_lost(day: Day, number: int) -> None:
    day.billed(number)
    day.paid(number, PaymentState.OPEN, trade_no=None)


@case((LineKind.PAYMENT, Verdict.MISSING_HERE, False))
def a_trade_that_we_do_not_know(day: Day, number: int) -> None:
    day.billed(number)


@case((LineKind.PAYMENT, Verdict.MATCHED, False), (LineKind.PAYMENT, Verdict.MISSING_HERE, False))
def paid_twice_by_one_number(day: Day, number: int) -> None:
    day.billed(number)
    day.billed(number)
    day.paid(number)


@case((LineKind.PAYMENT, Verdict.STATE_DIFFERS, True))
def paid_when_we_had_closed_it(day: Day, number: int) -> None:
    day.billed(number)
    day.paid(number, PaymentState.CLOSED)


@case((LineKind.PAYMENT, Verdict.STATE_DIFFERS, False))
def another_trade(day: Day, number: int) -> None:
    day.billed(number, trade_no="1")
    day.paid(number)


@case((LineKind.PAYMENT, Verdict.AMOUNT_DIFFERS, False))
def another_amount(day: Day, number: int) -> None:
    day.billed(number, amount=CENTS - 1)
    day.paid(number)


@case((LineKind.PAYMENT, Verdict.AMOUNT_DIFFERS, False))
def another_amount_and_not_known_here(day: Day, number: int) -> None:
    day.billed(number, amount=CENTS + 1)
    day.paid(number, PaymentState.OPEN)


@case((LineKind.PAYMENT, Verdict.MISSING_THERE, False))
def paid_here_alone(day: Day, number: int) -> None:
    day.paid(number)


@case()
def the_platform_was_paid_before_midnight(day: Day, number: int) -> None:
    day.billed(number, yesterday=True, time=NOON - timedelta(days=1))
    day.paid(number)


@case((LineKind.PAYMENT, Verdict.AMOUNT_DIFFERS, False))
def before_midnight_and_another_amount(day: Day, number: int) -> None:
    day.billed(number, yesterday=True, amount=1)
    day.paid(number)


@case((LineKind.PAYMENT, Verdict.MATCHED, False), (LineKind.REFUND, Verdict.MATCHED, False))
def paid_and_refunded(day: Day, number: int) -> None:
    the_same_on_both_sides(day, number)
    day.billed(number, number + 1)
    day.refunded(number)


@case((LineKind.REFUND, Verdict.MATCHED, False))
def refunded_on_a_later_day(day: Day, number: int) -> None:
    day.billed(number, number + 1)
    day.refunded(number)


@case((LineKind.PAYMENT, Verdict.MATCHED, False), (LineKind.REFUND, Verdict.MISSING_THERE, True))
def a_refund_that_was_not_sent(day: Day, number: int) -> None:
    the_same_on_both_sides(day, number)
    day.refunded(number, RefundState.OPEN)


@case((LineKind.REFUND, Verdict.STATE_DIFFERS, True))
def a_refund_whose_answer_was_lost(day: Day, number: int) -> None:
    day.billed(number, number + 1)
    day.refunded(number, RefundState.OPEN)


@case((LineKind.REFUND, Verdict.STATE_DIFFERS, True))
def a_refund_whose_answer_was_lost_yesterday(day: Day, number: int) -> None:
    day.billed(number, number + 1, yesterday=True)
    day.refunded(number, RefundState.OPEN)


@case((LineKind.REFUND, Verdict.MISSING_THERE, False))
def refunded_here_alone(day: Day, number: int) -> None:
    day.refunded(number)


@case((LineKind.REFUND, Verdict.MISSING_HERE, False))
def a_refund_that_we_do_not_know(day: Day, number: int) -> None:
    day.billed(number, number + 1)


@case((LineKind.REFUND, Verdict.AMOUNT_DIFFERS, False))
def another_amount_went_back(day: Day, number: int) -> None:
    day.billed(number, number + 1, amount=CENTS - 1)
    day.refunded(number)


@case((LineKind.REFUND, Verdict.STATE_DIFFERS, False))
def a_refund_of_another_payment(day: Day, number: int) -> None:
    day.billed(number, number + 1)
    day.refunded(number)
    day.refunds[-1]["pay_id"] = number + 5


def expected_of(day: Day) -> list[Expected]:
    lines = compare(day.bill, day.payments, day.refunds, day.earlier)
    return [(line.kind, line.verdict, line.repairable) for line in lines]


@pytest.mark.parametrize("put", CASES, ids=lambda put: put.__name__)
def test_each_difference_is_found(put: Callable[[Day, int], None]) -> None:
    """Each way in which one payment can stand, alone."""
    day = Day()
    put(day, 1000)
    assert expected_of(day) == list(CASES[put])


@given(st.lists(st.sampled_from(list(CASES)), max_size=30), st.randoms(use_true_random=False))
def test_differences_do_not_touch_each_other(puts: list[Any], chance: Any) -> None:
    """Any mixture, in any order of lines and rows: each is found, once, by the birth of payments.

    And no cent of the bill is left out.
    """
    day, expected = Day(), []
    for number, put in enumerate(puts, 1):
        put(day, number * 1000)
        expected += CASES[put]
    for rows in (day.bill, day.payments, day.refunds, day.earlier):
        chance.shuffle(rows)
    lines = compare(day.bill, day.payments, day.refunds, day.earlier)
    assert sorted(expected_of(day)) == sorted(expected)
    assert [line.pay_id for line in lines] == sorted(line.pay_id for line in lines)
    before = {line.key for line in day.earlier}
    lines_ = [line.there for line in lines if line.there is not None and line.key not in before]
    assert sorted(lines_) == sorted(line.amount for line in day.bill)


def test_what_a_line_says() -> None:
    """The order, both amounts, and the refund where it is one; nothing moved reads as None."""
    day = Day()
    a_callback_was_lost(day, 1000)
    a_refund_that_was_not_sent(day, 2000)
    lost, _, unsent = compare(day.bill, day.payments, day.refunds)
    assert (lost.order_id, lost.pay_id, lost.refund_id) == (999, 1000, None)
    assert (lost.there, lost.here) == (CENTS, None)
    assert (unsent.order_id, unsent.pay_id, unsent.refund_id) == (1999, 2000, 2001)
    assert (unsent.there, unsent.here) == (None, CENTS)


def test_a_bill_is_read_as_the_platform_writes_it() -> None:
    """Head and lines; what is no such bill is refused, and no line of it believed."""
    head = ",".join(COLUMNS)
    paid, back = read_bill(
        f"{head}\npayment,1,7,,500,2026-01-05T09:00:00\nrefund,1,7,2,500,2026-01-05T09:00:01\n"
    )
    assert (paid.kind, paid.out_trade_no, paid.amount) == (LineKind.PAYMENT, 1, 500)
    assert paid.out_request_no is None
    assert (back.key, back.trade_no) == ((LineKind.REFUND, 2), "7")
    assert read_bill(head + "\n") == []
    for wrong in ("payment,1,7,,5.00,2026-01-05T09:00:00", "payment,x,7,,5,2026-01-05T09:00:00"):
        with pytest.raises(ValueError, match="invalid literal"):
            read_bill(f"{head}\n{wrong}\n")
    with pytest.raises(ValueError, match="no bill"):
        read_bill("<html>")
