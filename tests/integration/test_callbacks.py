"""Callbacks against a whole lab: nothing but the platform's signature over the truth is believed.

What every altered byte does stands in tests/unit/web/test_callbacks.py; here is what the wire adds.
"""

from collections.abc import Iterator

import httpx
import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.integration.test_paying import NEVER, NOTICE, is_over, opened, payments
from tests.support.forged_callbacks import Fields, Forger
from tests.support.history import History
from tests.support.payment_client import Opened
from tests.support.storyline import placed


@pytest.fixture
def forger(lab: Lab, history: History) -> Iterator[Forger]:
    """The shop is told of payments by hand alone, and cannot ask."""
    lab.faults.arm(NOTICE, "refuse", times=NEVER)
    lab.faults.arm("pay.query_trade.before_call", "refuse", times=NEVER)
    yield Forger(lab.home.folder, history)
    lab.faults.disarm()


@pytest.fixture
def paid(history: History, forger: Forger) -> Opened:
    """A payment that its buyer has made, and of which the shop does not know."""
    assert forger  # before the button is pressed
    payment = opened(history)
    assert history.press(payment) == 200
    return payment


def rows(history: History) -> list[list[dict[str, object]]]:
    """The pay database without the columns that say when the platform is asked next."""
    kept = "SELECT pay_id, order_id, pay_amount, is_paid, trade_no, pay_time FROM trade_pay"
    tables = ("trade_refund", "trade_operation", "trade_mq_producer", "trade_mq_consumer_log")
    queries = [f"SELECT * FROM {table}" for table in tables]
    return [history.tables.rows("pay", query) for query in (kept, *queries)]


def lies(forger: Forger, payment: Opened, other: Opened) -> dict[str, Fields]:
    """Return the forged callbacks, by what is wrong with each."""
    true = forger.notice(payment.pay_id)
    bare = {name: text for name, text in true.items() if name not in ("sign", "sign_type")}
    return {
        "unsigned": bare,
        "altered amount": true | {"total_amount": "1"},
        "altered number": true | {"out_trade_no": str(other.pay_id)},
        "foreign key": forger.signed(bare, by="foreign"),
        "merchant's key": forger.signed(bare, by="merchant"),
        "another merchant": forger.notice(payment.pay_id, app_id="2026000100000002"),
        "wrong amount": forger.notice(payment.pay_id, total_amount="1"),
        "yuan": forger.notice(payment.pay_id, total_amount="5000.00"),
        "another's amount": forger.notice(payment.pay_id, total_amount=str(payment.pay_amount + 1)),
        "unknown payment": forger.notice(payment.pay_id, out_trade_no="4711"),
        "too large a number": forger.notice(payment.pay_id, out_trade_no=str(2**63)),
        "much too large": forger.notice(payment.pay_id, total_amount="9" * 400),
        "unknown state": forger.notice(payment.pay_id, trade_status="TRADE_LOST"),
        "no trade number": forger.notice(payment.pay_id, trade_no=""),
    }


def test_lies_change_nothing(history: History, forger: Forger, paid: Opened) -> None:
    """Forged, altered, for others, wrong or impossible: `fail`, no row changes, and never a 500.
    The genuine one then succeeds; replayed, with its id or another, it succeeds and does nothing.
    """
    other = opened(history)
    before = rows(history)
    for what, fields in lies(forger, paid, other).items():
        answer = forger.send(fields)
        assert (answer.text, answer.status_code in (400, 404, 422)) == ("fail", True), what
        assert rows(history) == before, what

    true = forger.notice(paid.pay_id)
    assert forger.send(true).text == "success"
    wait_until(lambda: len(rows(history)[3]) == 1, "it is told")
    [first, second] = payments(history)
    assert (first["is_paid"], second["is_paid"]) == (1, 0)
    after = rows(history)[0]
    for again in (true, forger.notice(paid.pay_id, notify_id="4712")):
        answer = forger.send(again)
        assert (answer.status_code, answer.text) == (200, "success")
    assert rows(history)[0] == after


def test_success_is_said_after_the_commit(
    lab: Lab, history: History, forger: Forger, paid: Opened
) -> None:
    """Where the commit fails the platform is not told `success`; where the pay service is killed
    around it, it is told so only of what is in the tables."""
    true = forger.notice(paid.pay_id)
    lab.faults.arm("pay.take_payment.before_commit", "refuse")
    answer = forger.send(true)
    assert (answer.status_code, answer.text) == (503, "fail")
    assert payments(history)[0]["is_paid"] == 0
    for when in ("before_commit", "after_commit"):
        lab.faults.arm(f"pay.take_payment.{when}", "crash")
        answer = wait_until(
            lambda: reply if (reply := forger.send(true)).status_code == 200 else None,
            "it is told success",
        )
        assert (answer.text, payments(history)[0]["is_paid"]) == ("success", 1)
        assert is_over(lab, f"pay.take_payment.{when}")


def test_a_body_is_bounded(history: History) -> None:
    """70 KiB are not read to their end, and do no harm."""
    assert placed(history)
    url = f"{history.pay_web}/pay/callback"
    answer = httpx.post(url, content=b"a=" + b"x" * 70_000, trust_env=False)
    assert (answer.status_code, answer.text) == (400, "fail")


def test_a_flood_of_lies_does_not_keep_the_truth_away(
    history: History, forger: Forger, paid: Opened
) -> None:
    """Hundreds of forged callbacks are turned away unread, and a genuine one is heard again as
    soon as they end."""
    lie = forger.notice(paid.pay_id) | {"total_amount": "1"}
    statuses = [forger.send(lie).status_code for _ in range(400)]
    assert set(statuses) <= {422, 429}
    before = payments(history)[0]["is_paid"]
    assert before == 0
    true = forger.notice(paid.pay_id)
    wait_until(lambda: forger.send(true).text == "success", "the genuine one is heard")
