"""Notices that a failpoint makes go wrong: lost, doubled, late, overtaken, altered or early."""

import asyncio
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.payment_api.signing import verify
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import notifier
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.clock import LabClock
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.wiring import failpoints_of
from tests.support.notices import NOTIFY, PUBLIC, arm, hits, notice, pay, run
from tests.support.platforming import Merchant, Served, listening, make_home, served
from tests.support.waiting import wait_until_async

AFTER = "platform.notify.after_notify"
EARLY = "platform.create_trade.before_answer"


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
