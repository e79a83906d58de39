"""The platform's trades and refunds: each moved once, whoever comes first, and told once."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from labkit.home import Home
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import notices, refunds, trades
from labkit.payment_platform.messages import CashierToken, FindTrade, NoticeTried, Refund
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.wiring import failpoints_of
from labkit.settings import Settings
from labkit.shop.codes import Code
from tests.support.platforming import MINUTE, NOON, Bank, asked, make_home, rows_at

FIRST = CashierToken(token="token-1")
NUMBER = FindTrade(out_trade_no=1)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """The platform's database, empty."""
    return Bank(tmp_path)


def state(bank: Bank) -> str:
    """The status of the only trade."""
    [row] = bank.rows()["platform_trade"]
    return str(row["trade_status"])


def refund_of(number: int, amount: int = 5000, request: int = 7) -> Refund:
    """Return the command that gives money back."""
    return Refund(out_trade_no=number, out_request_no=request, refund_amount=amount)


def test_a_trade_is_opened_paid_and_found(bank: Bank) -> None:
    """From opening to paid: each step says what holds, in the lab's time."""
    opened = bank.open()
    assert (opened.trade_status, opened.total_amount, opened.subject) == (
        TradeStatus.WAIT_BUYER_PAY,
        5000,
        "华为P30",
    )
    bank.clock.advance(timedelta(seconds=5))
    paid = bank.run(trades.pay_trade, FIRST).data
    assert (paid.trade_status, paid.pay_time) == (
        TradeStatus.TRADE_SUCCESS,
        NOON + timedelta(seconds=5),
    )
    assert bank.run(trades.find_cashier, FIRST).data == paid
    assert bank.run(trades.query_trade, NUMBER).data == paid


CASES: dict[str, tuple[Callable[[Bank], Any], Any, Any]] = {
    "create": (lambda _: None, trades.create_trade, asked),
    "pay": (Bank.open, trades.pay_trade, FIRST),
    "give up": (Bank.open, trades.give_up_trade, FIRST),
    "close": (Bank.open, trades.close_trade, NUMBER),
    "query of one that is over": (
        lambda bank: (bank.open(), bank.clock.advance(MINUTE)),
        trades.query_trade,
        NUMBER,
    ),
    "pay of one that is over": (
        lambda bank: (bank.open(), bank.clock.advance(MINUTE)),
        trades.pay_trade,
        FIRST,
    ),
    "refund": (
        lambda bank: (bank.open(), bank.run(trades.pay_trade, FIRST)),
        refunds.refund_trade,
        refund_of(1),
    ),
    "mark": (
        lambda bank: (bank.open(), bank.run(trades.pay_trade, FIRST)),
        notices.mark_notice,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_asked_again_nothing_changes(bank: Bank, case: str) -> None:
    """A step that is run again, at another time, changes no row and gives the same answer."""
    before, step, command = CASES[case]
    before(bank)
    if command is asked:
        command = asked(bank.clock)
    if command is None:
        [row] = bank.rows()["platform_notice"]
        command = NoticeTried(notify_id=row["notify_id"], tries=0, error="no answer")
    at_first = bank.rows()
    first = bank.run(step, command)
    once = bank.rows()
    bank.clock.advance(timedelta(seconds=1))
    second = bank.run(step, command)
    assert once != at_first, "the case proves nothing: the step did not apply"
    assert bank.rows() == once
    if first is not None:
        without_now = {"data": {"now"}}
        assert second.model_dump(exclude=without_now) == first.model_dump(exclude=without_now)


def test_every_writing_step_of_the_platform_has_a_case() -> None:
    """No step that writes is left out above."""
    writing = {step for step in PLATFORM.steps if not step.reads}
    assert writing == {step for _, step, _ in CASES.values()}


def test_another_amount_under_the_same_number_is_refused(bank: Bank) -> None:
    """The amount of a trade never changes; the same one gives the same cashier page."""
    opened = bank.open()
    before = bank.rows()
    other = asked(bank.clock, amount=4999).model_copy(update={"token": "other"})
    assert bank.run(trades.create_trade, other).code == Code.IDEMPOTENCY_KEY_REUSED
    again = asked(bank.clock).model_copy(update={"token": "other"})
    assert bank.run(trades.create_trade, again).data == opened
    assert bank.rows() == before


def test_a_trade_can_be_paid_to_the_last_moment(bank: Bank) -> None:
    """Before `time_expire` it can be paid; from then on nobody can, and whoever asks closes it."""
    bank.open(1)
    bank.clock.advance(MINUTE - timedelta(microseconds=1))
    assert bank.run(trades.pay_trade, FIRST).success
    bank.open(2)
    bank.clock.advance(MINUTE)
    second = CashierToken(token="token-2")
    shown = bank.run(trades.find_cashier, second).data
    assert (shown.trade_status, shown.close_time) == (TradeStatus.TRADE_CLOSED, None)
    refused = bank.run(trades.pay_trade, second)
    assert (refused.code, refused.data.trade_status) == (
        Code.PAYMENT_ERROR,
        TradeStatus.TRADE_CLOSED,
    )
    assert bank.run(trades.find_cashier, second).data.close_time == NOON + 2 * MINUTE - timedelta(
        microseconds=1
    )


def test_a_close_of_a_paid_trade_says_that_it_is_paid(bank: Bank) -> None:
    """The merchant is told what holds; the buyer, that paid is paid."""
    bank.open()
    bank.run(trades.pay_trade, FIRST)
    closed = bank.run(trades.close_trade, NUMBER)
    assert closed.success
    assert closed.data.trade_status == TradeStatus.TRADE_SUCCESS
    assert bank.run(trades.give_up_trade, FIRST).code == Code.PAYMENT_ALREADY_PAID


def test_what_does_not_exist_is_not_found(bank: Bank) -> None:
    """An unknown number or token changes nothing; no answer repeats the token."""
    steps = {
        trades.query_trade: NUMBER,
        trades.close_trade: NUMBER,
        trades.find_cashier: FIRST,
        trades.pay_trade: FIRST,
        trades.give_up_trade: FIRST,
        refunds.refund_trade: refund_of(1),
    }
    for step, command in steps.items():
        answer = bank.run(step, command)
        assert answer.code == Code.PAYMENT_NOT_FOUND
        assert "token" not in answer.message
    assert not any(bank.rows().values())


RACE = ("pay", "give up", "close", "expire", "refund")


def test_of_all_that_meet_exactly_one_wins(bank: Bank) -> None:
    """In each of the 120 orders of {pay, give up, close, expire, refund} the first that ends the
    trade wins, the others see what it did, and the merchant is told once."""
    for number, order in enumerate(permutations(RACE), 1):
        bank.open(number)
        for event in order:
            _happen(bank, event, number)
        winner = next(event for event in order if event != "refund")
        _assert_ended(bank, number, paid=winner == "pay")
    rows = bank.rows()
    assert 0 < len(rows["platform_refund"]) < len(rows["platform_notice"]) == 120


def _happen(bank: Bank, event: str, number: int) -> None:
    token = CashierToken(token=f"token-{number}")
    if event == "pay":
        bank.run(trades.pay_trade, token)
    elif event == "give up":
        bank.run(trades.give_up_trade, token)
    elif event == "close":
        bank.run(trades.close_trade, FindTrade(out_trade_no=number))
    elif event == "refund":
        paid = bank.run(trades.find_cashier, token).data.trade_status == TradeStatus.TRADE_SUCCESS
        assert bank.run(refunds.refund_trade, refund_of(number, request=number)).success == paid
    else:
        bank.clock.advance(MINUTE)
        bank.run(trades.query_trade, FindTrade(out_trade_no=number))


def _assert_ended(bank: Bank, number: int, *, paid: bool) -> None:
    trade = bank.run(trades.query_trade, FindTrade(out_trade_no=number)).data
    assert trade.trade_status == (TradeStatus.TRADE_SUCCESS if paid else TradeStatus.TRADE_CLOSED)
    assert (trade.pay_time is not None, trade.close_time is not None) == (paid, not paid)


def test_two_processes_on_one_database_have_one_winner(tmp_path: Path) -> None:
    """Pay, give up and close from two connections at once: each trade ends once, and is told once;
    all who asked are told the same end."""
    home = make_home(tmp_path)

    async def meet() -> None:
        both = [_database(home, number) for number in (1, 2)]
        for number in range(1, 21):
            command = asked(LabClock(home.clock_file), number)
            await both[0].run(trades.create_trade, command)
            token = CashierToken(token=command.token)
            answers = await asyncio.gather(
                *(
                    action.run(step, what)
                    for action in both
                    for step, what in (
                        (trades.pay_trade, token),
                        (trades.give_up_trade, token),
                        (trades.close_trade, FindTrade(out_trade_no=number)),
                    )
                )
            )
            assert len({answer.data.trade_status for answer in answers}) == 1
        assert len(rows_at(home)["platform_notice"]) == 20
        for database in both:
            database.close()

    asyncio.run(meet())


def _database(home: Home, instance: int) -> Database:
    failpoints = Failpoints(home.faults, f"platform-{instance}", failpoints_of(PLATFORM))
    lease = FolderRegistry(home.registry).lease_worker(1000)
    context = TransactionDefaults(
        "platform",
        LabClock(home.clock_file),
        IdMaker(lease, wall_ms),
        Settings(),
        failpoints,
        notices.write,
        lambda _: None,
    )
    return Database(home.database_url("platform"), context)
