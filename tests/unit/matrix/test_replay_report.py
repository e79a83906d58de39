"""The report of a replay: what broke comes first, then whether it was the life of the token."""

import pytest

from labkit.matrix.replay_report import Outcome, ReplayReport
from labkit.ops.history import Exchange, RequestKind
from labkit.ops.invariants.check import CheckResult
from labkit.sim.forcing import forcings
from labkit.sim.plan import read_token

PLAN = read_token("sim1/paid/1/0/customer.pay#1=delay:0.3;broker.paid#1=delay:5")
PAUSE, NEVER = forcings(PLAN, ())
HOLDS = CheckResult(name="stock is conserved", held=True, looked_at=1, broken=[])
BROKEN = CheckResult(name="ids are unique", held=False, looked_at=2, broken=["id 7 twice"])
ASKED = [Exchange(RequestKind.FIND, number, "7", status=200, name="SUCCESS") for number in "12"]


def report(
    results: list[CheckResult], *, forced: int = 2, complaints: tuple[str, ...] = (), twin: str = ""
) -> ReplayReport:
    """A report of a replay in which the customer paused."""
    outcome = Outcome([PAUSE], ASKED, results, complaints)
    return ReplayReport(PLAN, [PAUSE, NEVER][:forced], [twin] if twin else [], outcome, 9.0)


@pytest.mark.parametrize(
    ("done", "exit_code", "end"),
    [
        (report([HOLDS], forced=1), 0, "1 of 1 invariants hold"),
        (report([HOLDS], forced=1, twin="a: b"), 0, "something else came first: try again"),
        (report([HOLDS]), 3, "it was another life: 1 of its deviations did not happen"),
        (report([HOLDS, BROKEN]), 1, "1 of 2 invariants hold"),
        (report([HOLDS], complaints=("a story does not end",)), 1, "1 of 1 invariants hold"),
    ],
)
def test_the_end_says_what_it_proves(done: ReplayReport, exit_code: int, end: str) -> None:
    """A breach is 1 however it came; that all holds is 0 only where all happened, else 3."""
    assert done.exit_code == exit_code
    assert list(done.lines())[-1].endswith(end)


def test_it_says_what_happened_and_who_was_told_what() -> None:
    """Each deviation has a verdict; the same question with the same answer stands there once."""
    lines = list(report([BROKEN], twin="ids are unique: id 3 twice").lines())
    assert "  happened: customer.pay#1=delay:0.3" in lines
    assert any("cannot be forced (no broker" in line for line in lines)
    assert "  find 7: 200 SUCCESS (2 times)" in lines
    assert "BROKEN ids are unique: id 7 twice" in lines
    assert "in the twin: ids are unique: id 3 twice" in lines
