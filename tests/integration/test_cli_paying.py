"""The command line, where it is about money: pay, give up, what is on its way, drive it by hand."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.integration.conftest import assert_whole
from tests.support.db import labkit
from tests.support.history import History
from tests.support.storyline import QUICK, placed

pytestmark = pytest.mark.slow

REFUND = "pay.refund_trade.before_call"
QUERY = "pay.query_trade.before_call"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("cli") / "home"
    up = labkit("up", home=home, **QUICK)
    assert up.returncode == 0, up.stderr
    assert "pay web at http://" in up.stdout
    yield Lab.up(home)
    assert labkit("down", home=home).returncode == 0


@pytest.fixture
def home(lab: Lab) -> Path:
    return lab.home.folder


@pytest.fixture
def history(lab: Lab, home: Path) -> Iterator[History]:
    lab.reset()
    yield History(home)
    assert_whole(home)


def pay(home: Path, order_id: int | None, *words: str) -> str:
    """Pay, once more where the machine was too slow; what the command says."""

    def once() -> str | None:
        done = labkit("pay", str(order_id), *words, home=home)
        return done.stdout if done.returncode == 0 else None

    return wait_until(once, "it is paid", timeout=30)


def stuck(home: Path) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(labkit("stuck", "--json", home=home).stdout)
    return listed


def test_an_order_is_paid_from_the_command_line(lab: Lab, home: Path, history: History) -> None:
    """As in the browser: the cashier's address, the button, and what the shop says of it then."""
    order_id = placed(history).order_id
    output = pay(home, order_id)
    assert re.search(r"/cashier/[\w-]{43}", output)
    lab.settle()
    assert list(lab.tables("trade_order")["pay_status"]) == ["2 paid"]
    again, unknown = labkit("pay", str(order_id), home=home), labkit("pay", "17", home=home)
    assert (again.returncode, "HTTP 409 PAYMENT_ALREADY_PAID" in again.stdout) == (1, True)
    assert (unknown.returncode, "HTTP 404 ORDER_NOT_FOUND" in unknown.stdout) == (1, True)


def test_a_payment_is_given_up(lab: Lab, home: Path, history: History) -> None:
    """The other button closes the payment; the order can be paid by another one."""
    order_id = placed(history).order_id
    pay(home, order_id, "--give-up")
    lab.settle()
    pay(home, order_id)
    lab.settle()
    assert list(lab.tables("trade_pay")["is_paid"]) == ["2 closed", "1 paid"]


def test_a_refund_that_fails_is_seen_and_driven_by_hand(
    lab: Lab, home: Path, history: History
) -> None:
    """In flight for settle, listed with its cause; retry says whether it worked this time."""
    order_id = placed(history).order_id
    pay(home, order_id)
    lab.settle()
    lab.faults.arm(REFUND, "refuse", times=10**6)
    wait_until(lambda: history.give_back(order_id).status_code == 200, "it is returned")
    (item,) = wait_until(
        lambda: [row for row in stuck(home) if REFUND in str(row["cause"])], "the refund failed"
    )
    assert (item["what"], item["order"]) == ("refund not answered", order_id)
    settle = labkit("settle", "--timeout", "0.1", home=home)
    assert (settle.returncode, "refund not answered" in settle.stdout) == (1, True)
    failed = labkit("retry", str(item["id"]), home=home)
    assert (failed.returncode, REFUND in failed.stderr) == (1, True), failed
    lab.faults.disarm()
    driven = labkit("retry", str(item["id"]), home=home)
    assert driven.returncode == 0, driven
    lab.settle()
    assert stuck(home) == []
    assert list(lab.tables("platform_refund")["amount"]) == [5_000_00]


def test_a_payment_that_nobody_told_us_of_is_in_flight(
    lab: Lab, home: Path, history: History
) -> None:
    """Paid at the platform, the callback lost, the platform not to be asked: listed, driven."""
    opened = wait_until(
        lambda: lab.create_payment(placed(history).order_id or 0).pay_id, "a payment"
    )
    lab.faults.arm(QUERY, "refuse", times=10**6)
    with lab.faults.armed("platform.notify.before_notify", "refuse"):
        order_id = history.tables.rows("order", "SELECT order_id FROM trade_order")[-1]["order_id"]
        pay(home, order_id)
    (item,) = wait_until(lambda: [row for row in stuck(home) if row["cause"]], "asking failed")
    assert (item["id"], item["order"]) == (f"pay.{opened}", order_id)
    assert item["what"] == "paid at the platform, not known here"
    assert labkit("settle", "--timeout", "0.1", home=home).returncode == 1
    lab.faults.disarm()
    assert labkit("retry", str(item["id"]), home=home).returncode == 0
    lab.settle()
    assert list(lab.tables("trade_order")["pay_status"])[-1] == "2 paid"
