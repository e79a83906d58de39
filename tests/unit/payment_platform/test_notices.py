"""Notices on the wire: sent at once, and repeated until they are answered."""

from datetime import timedelta
from pathlib import Path

import pytest

from labkit.payment_api import keys
from labkit.payment_api.signing import verify
from labkit.payment_api.trade_status import TradeStatus
from tests.support.notices import PUBLIC, notice, pay, run
from tests.support.platforming import AWAY, Merchant, Served, listening, rows_at
from tests.support.waiting import wait_until_async


@pytest.mark.parametrize(
    ("button", "status"),
    [("pay", TradeStatus.TRADE_SUCCESS), ("give-up", TradeStatus.TRADE_CLOSED)],
)
def test_the_merchant_is_told_at_once(tmp_path: Path, button: str, status: str) -> None:
    """Paid or given up, the merchant is told what, signed, though the lab clock stands still."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        await pay(platform, button=button)
        await wait_until_async(lambda: notice(platform)["answer_time"], "the notice is answered")
        [params] = merchant.notices
        assert verify(PUBLIC, params)
        [trade] = rows_at(platform.home)["platform_trade"]
        expected = {
            "app_id": keys.APP_ID,
            "trade_status": status,
            "out_trade_no": "1",
            "total_amount": "5000",
            "trade_no": str(trade["trade_no"]),
            "subject": "华为P30",
            "notify_id": str(notice(platform)["notify_id"]),
            "notify_time": "2026-01-01 12:00:00",
        }
        assert expected.items() <= params.items()

    run(tmp_path, scenario)


def test_it_is_repeated_until_it_is_answered_success(tmp_path: Path) -> None:
    """`fail`, an error and a redirection are no answer: the same notice comes again when its time
    has come by the lab clock, and after `success` never."""
    merchant = Merchant(answers=[b"200 fail", b"500 success", b"302 success"])

    async def scenario(platform: Served, merchant: Merchant) -> None:
        await pay(platform)
        for tries, minutes in enumerate((4, 10, 10), 1):
            await wait_until_async(lambda n=tries: notice(platform)["tries"] == n, f"try {tries}")
            row = notice(platform)
            assert row["next_try"] - platform.clock.now() == timedelta(minutes=minutes)
            assert "not 200 success" in row["last_error"]
            platform.clock.advance(timedelta(minutes=minutes))
        await wait_until_async(lambda: notice(platform)["answer_time"], "the notice is answered")
        assert len(merchant.notices) == notice(platform)["tries"] == 4
        assert len({params["notify_id"] for params in merchant.notices}) == 1
        assert all(verify(PUBLIC, params) for params in merchant.notices)

    run(tmp_path, scenario, merchant)


def test_one_slow_receiver_does_not_stop_the_others(tmp_path: Path) -> None:
    """Notices that hang leave room for those that are answered."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        async with listening(Merchant(hangs=True)) as slow:
            for number in range(10, 15):
                await pay(platform, number, tell=slow.url)
            await wait_until_async(lambda: len(slow.notices) == 5, "five notices hang")
            await pay(platform)
            await wait_until_async(lambda: merchant.numbers() == [1], "the other one is told")

    run(tmp_path, scenario)


def test_nobody_listens(tmp_path: Path) -> None:
    """A merchant that is away is told later; the row says what was wrong."""

    async def scenario(platform: Served, _merchant: Merchant) -> None:
        await pay(platform, tell=AWAY)
        await wait_until_async(lambda: notice(platform)["tries"], "it was tried")
        assert "no answer" in notice(platform)["last_error"]

    run(tmp_path, scenario)
