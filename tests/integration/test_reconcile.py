"""Reconciling a day with the platform's bill: what was lost is found, and repaired or told."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.lab.display.answer import Answer
from labkit.ops import reconcile
from labkit.ops.reconcile import Reconciler
from labkit.waiting import wait_until
from tests.integration.conftest import assert_whole
from tests.support.db import labkit
from tests.support.storyline import quick_lab

pytestmark = pytest.mark.slow

LOST = ("platform.notify.before_notify", "refuse")
MATCHED = ("payment", "matched", "–")
#: The shop does not ask by itself, so that what is lost stays lost until somebody reconciles.
NEVER = {"LABKIT_CHECK_FIRST": "3600", "LABKIT_CHECK_MAX": "3600"}


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **NEVER) as lab:
        yield lab


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab with the first data back; afterwards all must settle and every invariant hold."""
    running_lab.reset()
    yield running_lab
    assert_whole(running_lab.home.folder)


def success(ask: Callable[[], Answer]) -> Answer:
    """A success, asked for once more where the machine was too slow for it."""

    def once() -> Answer | None:
        answer = ask()
        return answer if answer.status == 200 else None

    return wait_until(once, "an answer", timeout=30)


def order(lab: Lab) -> str:
    return str(success(lab.order).order_id)


def pay(lab: Lab, order_id: str) -> None:
    success(lambda: lab.pay(order_id))
    lab.settle()


def pay_unheard(lab: Lab, order_id: str) -> None:
    """Pay, and have the callback lost."""
    with lab.faults.armed(*LOST):
        success(lambda: lab.pay(order_id))
        wait_until(lambda: list(lab.tables("platform_notice")["tries"])[-1] == 1, "it is lost")


def refused(lab: Lab, failpoint: str) -> bool:
    """Return True if something is stuck because a failpoint refused it."""
    return any(f"{failpoint} refused" in str(cause) for cause in lab.stuck()["cause"])


def lines_of(lab: Lab, **how: Any) -> list[tuple[str, str, str]]:
    """Return what reconciling finds, by the birth of the payments."""
    frame = lab.reconcile(**how)
    return list(zip(frame["kind"], frame["found"], frame["done"], strict=True))


def test_a_missed_callback_is_found_and_repaired(lab: Lab) -> None:
    """Looking changes nothing; repairing pays the order, with points and log; then all matches."""
    first, second, _ = (order(lab) for _ in range(3))
    pay(lab, first)
    pay_unheard(lab, second)
    lost = ("payment", "missing here")
    assert lines_of(lab, repair=False) == [MATCHED, (*lost, "can be repaired")]
    assert list(lab.tables("trade_pay")["is_paid"]) == ["1 paid", "0 unpaid"]
    shown = lab.reconcile()
    assert list(shown.columns[:5]) == ["kind", "order", "payment", "at the platform", "in the shop"]
    assert [*shown.iloc[1]] == ["payment", "O2", "P2", 5_000_00, "–", "missing here", "repaired"]
    lab.settle()
    assert list(lab.tables("trade_order")["pay_status"]) == ["2 paid", "2 paid", "0 unpaid"]
    assert lines_of(lab) == [MATCHED, MATCHED]


@pytest.mark.parametrize(
    ("boundary", "finding"), [("before_call", "missing there"), ("after_call", "state differs")]
)
def test_a_refund_is_sent_once(lab: Lab, boundary: str, finding: str) -> None:
    """One that was never sent, and one whose answer was lost: made in the end, and once."""
    returned = order(lab)
    pay(lab, returned)
    with lab.faults.armed(f"pay.refund_trade.{boundary}", "refuse"):
        success(lambda: lab.return_order(returned))
        wait_until(lambda: refused(lab, f"pay.refund_trade.{boundary}"), "the refund was tried")
    assert lines_of(lab, repair=False) == [MATCHED, ("refund", finding, "can be repaired")]
    assert lines_of(lab) == [MATCHED, ("refund", finding, "repaired")]
    lab.settle()
    assert lines_of(lab) == [MATCHED, ("refund", "matched", "–")]
    assert list(lab.tables("platform_refund")["amount"]) == [5_000_00]


def test_what_was_paid_after_it_was_closed_goes_back(lab: Lab) -> None:
    """The callback is lost, the order cancelled, and closing the trade too: found, refunded."""
    cancelled = order(lab)
    pay_unheard(lab, cancelled)
    with lab.faults.armed("pay.close_trade.before_call", "refuse"):
        success(lambda: lab.cancel(cancelled))
        wait_until(lambda: refused(lab, "pay.close_trade.before_call"), "closing was tried")
    assert lines_of(lab) == [("payment", "state differs", "repaired"), ("refund", "matched", "–")]
    lab.settle()
    assert list(lab.tables("platform_trade")["refunded_amount"]) == [5_000_00]


@contextmanager
def spoilt(lab: Lab, database: str, change: str, back: str) -> Iterator[None]:
    """Change a database behind everybody's back, for a block."""
    file = lab.home.databases / f"{database}.sqlite"
    for sql in (change, back):
        with closing(sqlite3.connect(file, timeout=10)) as connection, connection:
            assert connection.execute(sql).rowcount == 1
        if sql == change:
            yield


TRADE = "UPDATE platform_trade SET"
#: What is spoilt: the database, how, how it is put back, and what is found.
SPOILT = {
    "another amount": (
        "platform",
        f"{TRADE} total_amount = 1",
        f"{TRADE} total_amount = 500000",
        [("payment", "amount differs", "needs a person")],
    ),
    "another trade": (
        "pay",
        "UPDATE trade_pay SET trade_no = trade_no - 1",
        "UPDATE trade_pay SET trade_no = trade_no + 1",
        [("payment", "state differs", "needs a person")],
    ),
    "not on the bill": (
        "platform",
        f"{TRADE} pay_time = replace(pay_time, '-01-', '-02-')",
        f"{TRADE} pay_time = replace(pay_time, '-02-', '-01-')",
        [("payment", "missing there", "needs a person")],
    ),
    "unknown here": (
        "platform",
        """INSERT INTO platform_trade SELECT 17, 18, 'token', subject, 1, 0,
          trade_status, notify_url, time_expire, add_time, pay_time, NULL FROM platform_trade""",
        "DELETE FROM platform_trade WHERE out_trade_no = 17",
        [("payment", "missing here", "needs a person"), MATCHED],
    ),
}


def test_what_has_no_right_answer_needs_a_person(lab: Lab, subtests: pytest.Subtests) -> None:
    """It is told, nothing is changed, and the exit code is 1 until somebody has seen to it."""
    pay(lab, order(lab))
    before = lab.tables("trade_pay", raw=True)
    for name, (database, change, back, finding) in SPOILT.items():
        with subtests.test(name), spoilt(lab, database, change, back):
            assert lines_of(lab) == finding
    with spoilt(lab, *SPOILT["another amount"][:3]):
        done = labkit("reconcile", home=lab.home.folder)
        assert done.returncode == 1, done
        assert "amount differs, needs a person" in done.stdout
    with spoilt(lab, *SPOILT["unknown here"][:3]):
        first, second = (
            labkit("reconcile", "--limit", "1", "--page", page, home=lab.home.folder)
            for page in "12"
        )
        assert "needs a person" in first.stdout, first  # what differs comes first
        assert "needs a person" not in second.stdout, second
        assert "rows 2 to 2 of 2" in second.stdout
    done = labkit("reconcile", home=lab.home.folder)
    assert (done.returncode, "1 compared, 0 not right" in done.stdout) == (0, True), done
    assert lab.tables("trade_pay", raw=True).equals(before)


def test_two_days_that_touch(lab: Lab) -> None:
    """Paid before midnight, known and refunded after it: each line on the platform's day, once."""
    first = lab.clock.now().date()
    second = first + timedelta(days=1)
    lab.clock.advance(hours=14, minutes=59)
    late = order(lab)
    pay_unheard(lab, late)
    lab.clock.advance(minutes=2)
    assert lab.clock.now().date() == second
    lost = ("payment", "missing here")
    assert lines_of(lab, repair=False) == []
    assert lines_of(lab, day=first) == [(*lost, "repaired")]
    lab.settle()
    assert (lines_of(lab, day=first), lines_of(lab, day=second)) == ([MATCHED], [])
    success(lambda: lab.return_order(late))
    lab.settle()
    assert (lines_of(lab, day=first), lines_of(lab)) == ([MATCHED], [("refund", "matched", "–")])


def test_a_refund_that_waits_is_told_on_every_day(lab: Lab) -> None:
    """Not sent yesterday, it is on today's list as well, until it is made."""
    returned = order(lab)
    pay(lab, returned)
    with lab.faults.armed("pay.refund_trade.before_call", "refuse"):
        success(lambda: lab.return_order(returned))
        wait_until(lambda: refused(lab, "pay.refund_trade.before_call"), "the refund was tried")
    lab.clock.advance(days=1)
    assert lines_of(lab) == [("refund", "missing there", "repaired")]
    lab.settle()
    assert lines_of(lab) == [("refund", "matched", "–")]


def test_what_is_on_its_way_is_looked_at_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payment that is being taken meanwhile is no difference; looking once would call it one."""
    day, reconciler = lab.clock.now().date(), Reconciler.of(lab.home, lab._reader)
    order_id = order(lab)
    opened = success(lambda: lab.create_payment(order_id))
    with (
        ThreadPoolExecutor(1) as pool,
        lab.faults.armed("pay.take_payment.before_commit", "delay:2"),
    ):
        pressed = pool.submit(lab.client.press, str(opened.cashier_url), "pay")
        wait_until(lambda: "payment" in lab.bill(), "it is on the bill")
        monkeypatch.setattr(reconcile, "_MAX_LOOKS", 1)
        assert [repair.line.verdict for repair in reconciler.run(day, repair=False)] == [
            "missing here"
        ]
        monkeypatch.setattr(reconcile, "_MAX_LOOKS", 100)
        assert [repair.line.verdict for repair in reconciler.run(day, repair=False)] == ["matched"]
        assert pressed.result().status_code == 200


def test_a_repair_that_fails_is_told_with_its_cause(lab: Lab) -> None:
    """While the platform cannot be asked, the line stays what it is; the next time it is right."""
    pay_unheard(lab, order(lab))
    with lab.faults.armed("pay.query_trade.before_call", "refuse", 9):
        done = labkit("reconcile", home=lab.home.folder)
    assert done.returncode == 1, done
    assert "can be repaired: the failpoint pay.query_trade.before_call refused" in done.stdout
    bill = json.loads(labkit("reconcile", "--json", home=lab.home.folder).stdout)
    (line,) = bill["lines"]
    assert bill["day"] == "2026-01-05"
    assert (line["found"], line["done"], line["at the platform"]) == (
        "missing here",
        "repaired",
        5_000_00,
    )
    lab.settle()


def test_there_is_no_bill_while_the_platform_is_away(lab: Lab) -> None:
    """One line says so, and nobody takes silence for an empty bill."""
    with lab.faults.killed("platform"):
        done = labkit("reconcile", home=lab.home.folder)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
        assert "the payment platform gave no bill of 2026-01-05" in done.stderr
    done = labkit("reconcile", "--day", "2026-01-06", home=lab.home.folder)
    assert (done.returncode, "0 compared" in done.stdout) == (0, True), done
