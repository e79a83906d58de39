"""The crash matrix: a seeded part of it on the shop as it is; with bugs, it sees them."""

import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from course.bugs.bug import shelf
from course.bugs.patching import bugs_in
from labkit.cli import crashing, looking  # noqa: F401  # they register
from labkit.cli.base import app
from labkit.faults.points import catalogue
from labkit.matrix import run, runner
from labkit.matrix.cells import CellVerdict
from labkit.matrix.scenario import SCENARIOS

BROKEN, HELD = CellVerdict.BROKEN, CellVerdict.HELD
#: Another part of the matrix each time; a number given here plays one again.
SEED = os.environ.get("MATRIX_SEED")
#: So many fit into 90 s, on two labs and with the columns of their scenarios.
CELLS, PAIRS = 30, 6
REACHED_MOSTLY = 0.8
SAFE = "refused-goods-missing:order.refuse_order.before_commit"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_part_of_the_matrix_holds(tmp_path: Path) -> None:
    """Killed exactly there, some services each time: all comes back, settles, and is whole."""
    report = run(sample=CELLS, seed=int(SEED) if SEED else None, labs=2, folder=tmp_path)
    print("\n".join(report.summary()))
    assert not report.failed, "\n".join(report.summary())
    assert report.counts[HELD] >= REACHED_MOSTLY * CELLS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_part_of_the_pairs_holds(tmp_path: Path) -> None:
    """Killed twice in one story: the same."""
    report = run(
        pairs=PAIRS,
        only=["cancelled", "paid"],
        seed=int(SEED) if SEED else None,
        labs=2,
        folder=tmp_path,
    )
    print("\n".join(report.summary()))
    assert not report.failed, "\n".join(report.summary())
    assert all(len(result.cell.failpoints) == 2 for result in report.results)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "failpoint"),
    [
        ("delay:1.2", "order.deduct_stock.before_call"),
        ("refuse", "order.use_coupon.after_call"),
        ("duplicate", "user.deduct_balance.after_commit"),
    ],
)
def test_other_actions_than_a_crash(tmp_path: Path, action: str, failpoint: str) -> None:
    """Later than a call may be, lost, or twice: the order is placed or cancelled, and whole."""
    (result,) = run(cells=[f"accepted:{failpoint}"], action=action, folder=tmp_path).results
    assert result.verdict == HELD, result.why


@pytest.mark.slow
@pytest.mark.parametrize("name", ["key-looked-at-later", "not-sent-again"])
def test_a_bug_that_only_a_crash_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A cell that the bug touches is broken, in the invariant's words, and the command that repeats
    it is named; the lab is made anew, and one that the bug does not touch holds there."""
    monkeypatch.setattr(runner, "_SETTLED_SECONDS", 6.0)
    bug = shelf()[name]
    (cell,) = bug.found_by
    with bugs_in(tmp_path / "bug", bug):
        report = run(
            cells=[SAFE, cell, SAFE], labs=1, seed=3, patient=bug.asks_again, folder=tmp_path
        )
    assert [result.verdict for result in report.results] == [HELD, BROKEN, HELD], report.rows()
    assert bug.breaks in report.results[1].why
    assert report.failed
    assert f"  again: labkit matrix --cell {cell} --seed 3" in list(report.summary())


@pytest.mark.slow
@patch.dict(SCENARIOS, {"repeated": SCENARIOS["repeated"]}, clear=True)  # they keep their order
def test_a_failpoint_that_no_scenario_reaches(tmp_path: Path) -> None:
    """With most stories left out the run fails though every cell holds, and names what is missed.

    The grid and the sum are printed, and the file has all of it.
    """
    words = ["matrix", "--home", str(tmp_path / "home"), "--json", str(tmp_path / "all.json")]
    done = CliRunner().invoke(app, [*words, "--seed", "1", "--labs", "1"])
    assert done.exit_code == 1, done.output
    assert re.search(r"^order\.open_order commit +●$", done.output, re.MULTILINE)
    assert "NO SCENARIO REACHES goods.return_stock.after_commit" in done.output
    assert "NO SCENARIO REACHES order-web.find_order.before_call" not in done.output
    assert re.search(r"\d+ cells: \d+ held; 1 scenarios, \d+ failpoints; seed 1", done.output)
    assert '"unreached"' in (tmp_path / "all.json").read_text()
    assert list((tmp_path / "home").iterdir()) == []


def test_all_failpoints_of_the_list_are_played(tmp_path: Path) -> None:
    """A cell that does not exist is refused, with what there is."""
    for cell, complaint in (
        ("nobody:order.open_order.before_commit", "is no scenario"),
        ("paid:order.nothing.before_commit", "is no failpoint"),
    ):
        with pytest.raises(ValueError, match=complaint):
            run(cells=[cell], folder=tmp_path)
    with pytest.raises(ValueError, match="can crash, delay; not 'refuse'"):
        run(cells=["paid:pay.paid.after_ack"], action="refuse", folder=tmp_path)
    assert "pay.paid.after_ack" in catalogue()
