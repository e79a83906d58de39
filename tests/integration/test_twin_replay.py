"""What breaks the shop in the twin breaks it on a real lab, which is made to live the same."""

import json
from pathlib import Path

import pytest

from course.bugs.bug import shelf
from course.bugs.patching import bugs_in, replace
from labkit.matrix.replay_report import ReplayReport
from labkit.matrix.replaying import replay
from labkit.sim import search
from labkit.sim.plan import read_token
from tests.support.apart import apart
from tests.support.db import labkit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Bug → a life that the twin's search found with it in, as small as it could be made.
TOKENS = {
    "settled-at-the-acknowledgement": ("sim1/opened-and-cancelled/1/0/broker.order_cancel#1=lose"),
    "a-new-payment-each-time": "sim1/paid/1/0/pay-web.create_payment.before_call#1=duplicate",
    "cancel-overwrites-paid": "sim1/opened-and-cancelled/1/0/customer.cancel#1=delay:1.5",
}
OK = 200


def broken_in_twin(bug: str, token: str) -> set[str]:
    """Put a bug into this process, and return the invariants that a life breaks."""
    for where, new in shelf()[bug].patches.items():
        replace(where, new)
    return {breach.partition(":")[0] for breach in search.replay(read_token(token)).breaches}


def broken_in(report: ReplayReport) -> set[str]:
    """The invariants that a replay breaks."""
    return {result["name"] for result in report.outcome.invariants if not result["held"]}


@pytest.mark.parametrize("bug", TOKENS)
def test_the_real_shop_breaks_as_the_twin_does(bug: str, tmp_path: Path) -> None:
    """With the bug in, the same invariant breaks; without it all happens too, and all holds."""
    token = TOKENS[bug]
    in_twin = apart(broken_in_twin, bug, token)
    assert in_twin
    with bugs_in(tmp_path / "bug", shelf()[bug]):
        broken = replay(token, tmp_path)
    assert broken.missed == []
    assert in_twin & broken_in(broken), "\n".join(broken.lines())
    assert broken.exit_code == 1
    whole = replay(token, tmp_path)
    assert whole.outcome.breaches == [], "\n".join(whole.lines())
    assert (whole.missed, whole.exit_code) == ([], 0)


def test_a_lab_dies_waits_and_has_a_wrong_clock_as_it_is_told(tmp_path: Path) -> None:
    """All processes die at once, a customer waits, a clock is ahead: all happens, and all holds."""
    happens = (
        "goods.deduct_stock.after_commit#1=power-cut",
        "pay.start#2=clock:45",
        "customer.place#2=delay:0.3",
    )
    report = replay(f"sim1/accepted,accepted-paid/2/0/{';'.join(happens)}", tmp_path)
    assert report.missed == []
    assert report.outcome.breaches == [], "\n".join(report.lines())
    undecided = [exchange for exchange in report.outcome.exchanges if exchange.status != OK]
    assert undecided, "no customer noticed that everything was dead"


def test_another_life_is_said_to_be_one(tmp_path: Path) -> None:
    """Where a deviation cannot be forced, or is not reached, that all holds says nothing: 3."""
    happens = "broker.paid#1=delay:1.5;order.deduct_stock.before_call#9=crash"
    report = tmp_path / "report.json"
    words = ("matrix", "--replay", f"sim1/accepted-paid/1/0/{happens}", "--json", str(report))
    done = labkit(*words, home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    assert "cannot be forced" in done.stdout
    assert "NOT REACHED: order.deduct_stock.before_call#9=crash" in done.stdout
    assert json.loads(report.read_text())["broken"] == []
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("sim1/paid",), "is no token"),
        (("sim1/bought/1/0/",), "no story 'bought'"),
        (("sim1/paid/1/0/", "--only", "paid"), "write: labkit matrix --replay TOKEN"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    words: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """In one line, and no lab is started."""
    done = labkit("matrix", "--replay", *words, home=tmp_path)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
