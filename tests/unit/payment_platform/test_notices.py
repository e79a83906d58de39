"""Notices on the wire: sent at once, repeated until answered, and everything that can go wrong."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labkit.home import Home
from labkit.payment_api import keys
from labkit.payment_api.signing import verify
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import notifier
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.clock import LabClock
from labkit.runtime.injection.failpoints import FailpointStore, hits_of
from labkit.runtime.wiring import failpoints_of
from tests.support.platforming import (
    AWAY,
    PLATFORM_KEY,
    Merchant,
    Served,
    listening,
    make_home,
    rows_at,
    served,
)
from tests.support.waiting import wait_until_async

NOTIFY = "platform.notify.before_notify"
AFTER = "platform.notify.after_notify"
EARLY = "platform.create_trade.before_answer"
PUBLIC = PLATFORM_KEY.public_key()

Scenario = Callable[[Served, Merchant], Coroutine[Any, Any, None]]


def run(folder: Path, scenario: Scenario, merchant: Merchant | None = None) -> None:
    """Serve the platform and a merchant that listens, and run a scenario on both."""

    async def whole() -> None:
        async with (
            listening(merchant or Merchant()) as merchant_,
            served(make_home(folder), merchant_.url) as platform,
        ):
            await scenario(platform, merchant_)

    asyncio.run(whole())


async def pay(platform: Served, number: int = 1, button: str = "pay", tell: str = "") -> None:
    """Open a trade, which shall be told of there, and press a button of its cashier page."""
    client = platform.client_of(tell or platform.told_at)
    opened = await client.create_trade(platform.asked(number))
    await client.close()
    answer = await platform.http.post(f"{opened.data.cashier_url}/{button}")
    assert answer.status_code == 200


def notice(platform: Served, number: int = 1) -> dict[str, Any]:
    """The row of a trade's notice."""
    rows = rows_at(platform.home)["platform_notice"]
    return next(row for row in rows if row["out_trade_no"] == number)


def arm(platform: Served, action: str, name: str = NOTIFY) -> None:
    """Arm a failpoint once."""
    FailpointStore(platform.home.faults).arm(name, action)


def hits(home: Home, name: str) -> int:
    """How often a failpoint of the platform was crossed."""
    points = [point.name for point in failpoints_of(PLATFORM)]
    return hits_of(home.faults, "platform-1", len(points)).read(points.index(name))


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


def test_refuse_loses_a_notice(tmp_path: Path) -> None:
    """The merchant never hears of it, the platform thinks of it as tried, and repeats it later."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "refuse")
        await pay(platform)
        await wait_until_async(lambda: notice(platform)["tries"], "it was tried")
        assert (merchant.notices, "lost" in notice(platform)["last_error"]) == ([], True)
        platform.clock.advance(timedelta(minutes=4))
        await wait_until_async(lambda: merchant.notices, "it is repeated")
        assert hits(platform.home, NOTIFY) == 2
        assert FailpointStore(platform.home.faults).armed() == {}

    run(tmp_path, scenario)


def test_duplicate_sends_a_notice_twice(tmp_path: Path) -> None:
    """Both times the same, to the letter."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "duplicate")
        await pay(platform)
        await wait_until_async(lambda: notice(platform)["answer_time"], "the notice is answered")
        first, second = merchant.notices
        assert first == second

    run(tmp_path, scenario)


def test_delay_sends_a_notice_late(tmp_path: Path) -> None:
    """So much later, and then whole."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "delay:0.6")
        began = time.monotonic()
        await pay(platform)
        await wait_until_async(lambda: merchant.notices, "it comes")
        assert time.monotonic() - began >= 0.6
        assert verify(PUBLIC, merchant.notices[0])

    run(tmp_path, scenario)


def test_reorder_lets_a_later_notice_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The held one follows the one that overtook it, and waits for nothing else."""
    monkeypatch.setattr(notifier, "_MAX_HOLD_S", 3600)

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "reorder")
        await pay(platform, 1)
        await wait_until_async(lambda: hits(platform.home, NOTIFY) == 1, "the first is held")
        await pay(platform, 2)
        await wait_until_async(lambda: len(merchant.notices) == 2, "both are told")
        assert merchant.numbers() == [2, 1]

    run(tmp_path, scenario)


def test_a_notice_that_nothing_overtakes_goes_by_itself(tmp_path: Path) -> None:
    """Reordering alone loses nothing."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "reorder")
        await pay(platform)
        await wait_until_async(lambda: merchant.numbers() == [1], "it goes by itself")
        assert FailpointStore(platform.home.faults).armed() == {}

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("action", "genuine", "amount"),
    [("alter", False, "5001"), ("wrong_amount", True, "5001"), ("forge", False, "5000")],
)
def test_a_notice_can_be_wrong(tmp_path: Path, action: str, genuine: bool, amount: str) -> None:
    """Altered after the signing, wrong and yet signed, or signed with a foreign key: once, and the
    repetition is right."""
    merchant = Merchant(answers=[b"200 fail"])

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, action)
        await pay(platform)
        await wait_until_async(lambda: notice(platform)["tries"] == 1, "it was tried")
        platform.clock.advance(timedelta(minutes=4))
        await wait_until_async(lambda: len(merchant.notices) == 2, "it is repeated")
        wrong, right = merchant.notices
        assert (verify(PUBLIC, wrong), wrong["total_amount"]) == (genuine, amount)
        assert (verify(PUBLIC, right), right["total_amount"]) == (True, "5000")
        assert wrong["notify_id"] == right["notify_id"]

    run(tmp_path, scenario, merchant)


def test_early_tells_before_create_is_answered(tmp_path: Path) -> None:
    """The buyer has paid and the merchant is told, and only then comes the answer to create."""

    async def scenario(platform: Served, merchant: Merchant) -> None:
        arm(platform, "early", EARLY)
        opened = await platform.client.create_trade(platform.asked())
        assert (opened.success, merchant.numbers()) == (True, [1])
        assert merchant.notices[0]["trade_status"] == TradeStatus.TRADE_SUCCESS
        assert (await platform.client.create_trade(platform.asked())).success

    run(tmp_path, scenario)


_SERVE = """
import asyncio, socket, sys
from pathlib import Path
from labkit.home import Home
from labkit.payment_platform import process
from labkit.settings import Settings
listener = socket.create_server(("127.0.0.1", 0))
asyncio.run(process.serve(Home(Path(sys.argv[1])), Settings(), listener, 1))
"""


@pytest.mark.parametrize(("name", "notices"), [(NOTIFY, 1), (AFTER, 2)])
def test_a_crash_between_sending_and_marking_sends_again(
    tmp_path: Path, name: str, notices: int
) -> None:
    """The platform dies before or after it told the merchant; started again it tells it, under the
    same number: at least once, never not at all."""

    async def scenario() -> None:
        merchant = Merchant()
        async with listening(merchant):
            home = make_home(tmp_path)
            async with served(home, merchant.url) as platform:
                arm(platform, "refuse")  # this process leaves the notice to the next
                await pay(platform)
                await wait_until_async(lambda: notice(platform)["tries"], "it was tried")
            LabClock(home.clock_file).advance(timedelta(minutes=4))
            FailpointStore(home.faults).arm(name, "crash")
            assert await asyncio.to_thread(_serve_until_it_dies, home) == -9
            assert len(merchant.notices) == notices - 1
            async with served(home) as platform:
                await wait_until_async(lambda: len(merchant.notices) == notices, "it is told again")
        assert merchant.numbers() == [1] * notices
        assert len({params["notify_id"] for params in merchant.notices}) == 1

    asyncio.run(scenario())


def _serve_until_it_dies(home: Home) -> int:
    """Serve in a process of its own; its exit status."""
    command = [sys.executable, "-c", _SERVE, str(home.folder)]
    return subprocess.run(command, timeout=60).returncode


def test_everything_that_can_go_wrong_has_a_name() -> None:
    """Each step that writes, the notice and the answer can be armed, with what the lab promises."""
    points = {point.name: point.actions for point in failpoints_of(PLATFORM)}
    assert {"crash", "delay"} <= set(points["platform.pay_trade.after_commit"])
    assert {"crash", "delay"} <= set(points["platform.create_trade.after_commit"])
    assert {
        "crash",
        "refuse",
        "delay",
        "duplicate",
        "reorder",
        "alter",
        "wrong_amount",
        "forge",
    } == set(points[NOTIFY])
    assert "early" in points[EARLY]
    assert not [name for name in points if "find_" in name]
