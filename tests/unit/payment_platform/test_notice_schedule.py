"""The interval on which a notice is repeated, until it is answered."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import notices, trades
from labkit.payment_platform.messages import CashierToken, NoticeTried
from tests.support.platforming import NOON, Bank

FIRST = CashierToken(token="token-1")


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """The platform's database, empty."""
    return Bank(tmp_path)


def test_a_notice_is_repeated_on_alipays_interval(bank: Bank) -> None:
    """Due at once, also on a clock that stands still; then 4 min, 10 min, 10 min, 1 h, 2 h, 6 h and
    15 h after each try, not a microsecond sooner; then never again. Its number stays the same."""
    bank.open()
    bank.run(trades.pay_trade, FIRST)
    [first] = _due(bank)
    for tries, minutes in enumerate((4, 10, 10, 60, 120, 360, 900)):
        bank.run(notices.mark_notice, _tried(first, tries))
        bank.clock.advance(timedelta(minutes=minutes) - timedelta(microseconds=1))
        assert _due(bank) == []
        bank.clock.advance(timedelta(microseconds=1))
        [again] = _due(bank)
        assert (again.notify_id, again.tries) == (first.notify_id, tries + 1)
    bank.run(notices.mark_notice, _tried(first, 7))
    bank.clock.advance(timedelta(days=30))
    assert _due(bank) == []
    [row] = bank.rows()["platform_notice"]
    assert (row["tries"], row["answer_time"], row["last_error"]) == (8, None, "answered fail")


def test_an_answered_notice_is_never_due_again(bank: Bank) -> None:
    """`success` ends it; a second, older try that ends later changes nothing."""
    bank.open()
    bank.run(trades.give_up_trade, FIRST)
    [notice] = _due(bank)
    assert notice.trade_status == TradeStatus.TRADE_CLOSED
    bank.run(notices.mark_notice, _tried(notice, 0, ""))
    bank.run(notices.mark_notice, _tried(notice, 0))
    bank.clock.advance(timedelta(days=30))
    assert _due(bank) == []
    [row] = bank.rows()["platform_notice"]
    assert (row["tries"], row["answer_time"], row["last_error"]) == (1, NOON, None)


def _due(bank: Bank) -> Any:
    return bank.run(notices.find_due_notices, notices.DueNotices(limit=100))


def _tried(notice: Any, tries: int, error: str = "answered fail") -> NoticeTried:
    return NoticeTried(notify_id=notice.notify_id, tries=tries, error=error)
