"""The platform's refunds, and its bill of payments and refunds."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from labkit.payment_platform import bill, refunds, trades
from labkit.payment_platform.messages import BillDay, CashierToken, Refund
from labkit.shop.codes import Code
from tests.support.platforming import NOON, Bank

FIRST = CashierToken(token="token-1")


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """The platform's database, empty."""
    return Bank(tmp_path)


def refund_of(number: int, amount: int = 5000, request: int = 7) -> Refund:
    """Return the command that gives money back."""
    return Refund(out_trade_no=number, out_request_no=request, refund_amount=amount)


def test_never_more_is_refunded_than_was_paid(bank: Bank) -> None:
    """Parts may go back under numbers of their own, until all of it has."""
    bank.open()
    bank.run(trades.pay_trade, FIRST)
    assert bank.run(refunds.refund_trade, refund_of(1, 3000, 1)).success
    too_much = bank.run(refunds.refund_trade, refund_of(1, 2001, 2))
    assert (too_much.code, "2000 cents left" in too_much.message) == (
        Code.MONEY_MORE_THAN_AMOUNT,
        True,
    )
    assert bank.run(refunds.refund_trade, refund_of(1, 2000, 2)).success
    assert bank.run(refunds.refund_trade, refund_of(1, 1, 3)).code == Code.MONEY_MORE_THAN_AMOUNT
    [row] = bank.rows()["platform_trade"]
    assert (
        row["refunded_amount"]
        == sum(refund["amount"] for refund in bank.rows()["platform_refund"])
        == 5000
    )


def test_a_refund_number_stands_for_one_refund(bank: Bank) -> None:
    """The same number with another amount, or for another trade, is refused."""
    for number in (1, 2):
        bank.open(number)
        bank.run(trades.pay_trade, CashierToken(token=f"token-{number}"))
    assert bank.run(refunds.refund_trade, refund_of(1, 100)).success
    before = bank.rows()
    for other in (refund_of(1, 101), refund_of(2, 100)):
        assert bank.run(refunds.refund_trade, other).code == Code.IDEMPOTENCY_KEY_REUSED
    assert bank.rows() == before


@pytest.mark.parametrize("end", [None, trades.give_up_trade])
def test_only_a_paid_trade_is_refunded(bank: Bank, end: Any) -> None:
    """A trade that waits or is closed has brought no money that could go back."""
    bank.open()
    if end:
        bank.run(end, FIRST)
    before = bank.rows()
    assert bank.run(refunds.refund_trade, refund_of(1)).code == Code.PAYMENT_ERROR
    assert bank.rows() == before


def test_the_bill_of_a_day_holds_what_moved_on_it(bank: Bank) -> None:
    """Payments and refunds stand under the business day on which they were made, to the last
    microsecond of it, in exactly these columns, and nothing else does."""
    bank.open(1)
    bank.open(2)
    paid = bank.run(trades.pay_trade, FIRST).data
    bank.clock.advance(timedelta(hours=12) - timedelta(microseconds=1))
    bank.run(refunds.refund_trade, refund_of(1, 1200))
    bank.clock.advance(timedelta(microseconds=1))
    bank.run(refunds.refund_trade, refund_of(1, 300, 8))
    head = "kind,out_trade_no,trade_no,out_request_no,amount,time\n"
    assert bank.run(bill.write_bill, BillDay(day=NOON.date())) == (
        head
        + f"payment,1,{paid.trade_no},,5000,2026-01-01T12:00:00\n"
        + f"refund,1,{paid.trade_no},7,1200,2026-01-01T23:59:59.999999\n"
    )
    assert bank.run(bill.write_bill, BillDay(day=date(2026, 1, 2))) == (
        head + f"refund,1,{paid.trade_no},8,300,2026-01-02T00:00:00\n"
    )
    assert bank.run(bill.write_bill, BillDay(day=date.max)) == head
