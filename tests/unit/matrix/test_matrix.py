"""The crash matrix: which cells are played, how work is dealt, what a run is told to have found."""

import random
from threading import Barrier

import pytest

from labkit.cli.matrix_grid import grid
from labkit.faults.points import catalogue
from labkit.matrix import SCENARIOS, Cell, CellResult, Report, plan
from labkit.matrix.cells import CellVerdict
from labkit.matrix.labs import map_unordered
from labkit.matrix.scenario import Scenario

BROKEN, NOT_REACHED, HELD = CellVerdict
OPEN, SEND = "order.open_order.after_commit", "order.order_cancel.before_send"
COLUMNS = {"accepted": frozenset({OPEN}), "cancelled": frozenset({OPEN, SEND})}


def report(*results: CellResult, unreached: tuple[str, ...] = ()) -> Report:
    return Report(COLUMNS, list(results), list(unreached), seed=7, seconds=3, labs=1)


def result(verdict: str, *failpoints: str, scenario: str = "cancelled") -> CellResult:
    return CellResult(Cell(scenario, failpoints or (OPEN,)), verdict, "why", seconds=1, tries=1)


def test_a_cell_for_each_failpoint_that_a_scenario_reaches() -> None:
    """All by their names; with an action, those that can take it; with patterns, what fits."""
    names = [cell.name for cell in plan.singles(COLUMNS, (), "crash")]
    assert names == [f"accepted:{OPEN}", f"cancelled:{OPEN}", f"cancelled:{SEND}"]
    assert [cell.failpoints for cell in plan.singles(COLUMNS, (), "refuse")] == [(SEND,)]
    assert [cell.name for cell in plan.singles(COLUMNS, ["acc*"], "crash")] == names[:1]
    assert [cell.name for cell in plan.singles(COLUMNS, ["*:*.before_send"], "crash")] == names[2:]


def test_pairs_are_two_failpoints_of_one_scenario() -> None:
    """Drawn with the seed: the same again with the same one."""
    cells = plan.singles(COLUMNS, (), "crash")
    drawn = plan.pairs(cells, 5, random.Random(3))
    assert {frozenset(cell.failpoints) for cell in drawn} == {frozenset({OPEN, SEND})}
    assert {cell.scenario for cell in drawn} == {"cancelled"}
    assert drawn == plan.pairs(cells, 5, random.Random(3))
    with pytest.raises(ValueError, match="no scenario reaches two"):
        plan.pairs(cells[:1], 5, random.Random(3))


def test_a_sample_needs_the_columns_of_a_few_scenarios() -> None:
    """And is drawn with the seed."""
    few = plan.scenarios((), 10, random.Random(3))
    assert 1 < len(few) < len(SCENARIOS) / 2
    assert (
        few == plan.scenarios((), 10, random.Random(3)) != plan.scenarios((), 10, random.Random(4))
    )


def test_what_is_out_of_reach_is_listed_and_nothing_else() -> None:
    """Every failpoint that no scenario reaches is told, but for those with a reason."""
    everything = {"accepted": frozenset(catalogue()) - plan.UNREACHABLE.keys()}
    assert plan.UNREACHABLE.keys() <= catalogue().keys()
    assert plan.unreached(everything) == []
    assert plan.unreached({"accepted": everything["accepted"] - {OPEN}}) == [OPEN]


def test_a_run_fails_where_a_cell_is_broken_or_a_failpoint_not_reached() -> None:
    """And names the one command that repeats a broken cell; that a cell is not reached is told."""
    good, lost = result(HELD), result(NOT_REACHED, SEND)
    assert not report(good, lost).failed
    assert "not reached, tried twice: cancelled:" + SEND + ": why" in [*report(lost).summary()]
    assert report(good, unreached=(SEND,)).failed
    bad = report(good, result(BROKEN, OPEN, SEND))
    assert bad.failed
    assert f"  again: labkit matrix --cell cancelled:{OPEN}+{SEND} --seed 7" in [*bad.summary()]


def test_the_grid_shows_the_worst_of_a_crossing() -> None:
    """A sign for each scenario, in a line for both boundaries of a commit, 100 columns at most."""
    before = OPEN.replace("after", "before")
    shown = [
        line.plain
        for line in grid(
            [
                result(HELD),
                result(BROKEN, before),
                result(HELD, scenario="accepted"),
                result(NOT_REACHED, SEND),
            ]
        )
    ]
    assert [line.split() for line in shown[:3]] == [
        ["order", "ab"],
        ["order.open_order", "commit", "●✗"],
        ["order.order_cancel", "send", "·○"],
    ]
    assert shown[4].startswith("a  accepted: ")
    whole = [result(HELD, name, scenario=story) for name in catalogue() for story in SCENARIOS]
    assert max(len(line.plain) for line in grid(whole) if "●" in line.plain) <= 100


def test_the_grid_has_a_letter_for_every_story() -> None:
    """However many there are: each has a column of its own, and a line that says what it is."""
    names = [f"story-{number}" for number in range(120)]
    stories = {name: Scenario(name, f"tells {name}", lambda _: iter(())) for name in names}
    lines = [line.plain for line in grid((result(HELD, scenario=name) for name in names), stories)]
    letters = lines[0].split(maxsplit=1)[1].replace(" ", "")
    assert len(set(letters)) == len(letters) == len(names)
    assert lines[1].count("●") == len(names)
    shown = dict(line.split("  ", 1) for line in lines[3:-1])
    assert [shown[letter] for letter in letters] == [f"{name}: tells {name}" for name in names]


def test_a_notebook_gets_a_frame_of_it() -> None:
    """Failpoint by scenario, in the order of the stories; empty where there is no cell."""
    grid_frame = report(result(HELD, SEND), result(BROKEN, scenario="accepted")).grid()
    assert list(grid_frame.columns) == ["accepted", "cancelled"]
    assert grid_frame.loc[SEND].tolist() == ["", HELD]
    assert grid_frame.loc[OPEN].tolist() == [BROKEN, ""]


def test_work_is_dealt_to_whoever_is_free() -> None:
    """Both workers are at it at once, each item is done once, and an error ends it."""
    both = Barrier(2, timeout=5)

    def work(worker: str, item: int) -> tuple[str, int]:
        if item < 2:
            both.wait()
        if item == 9:
            raise ValueError("nine")
        return worker, item

    done = list(map_unordered(["a", "b"], work, range(6)))
    assert sorted(item for _, item in done) == list(range(6))
    assert {worker for worker, _ in done} == {"a", "b"}
    with pytest.raises(ValueError, match="nine"):
        list(map_unordered(["a"], work, [9, 3]))


def test_the_frame_draws_itself() -> None:
    """A sign and a colour for each verdict, a legend, and a dot where nothing was played."""
    grid_frame = report(result(HELD, SEND), result(BROKEN, scenario="accepted")).grid()
    assert [line.split() for line in repr(grid_frame).splitlines()[2:4]] == [
        [OPEN, "✗", "·"],
        [SEND, "·", "●"],
    ]
    drawn = grid_frame._repr_html_()
    assert "✗ broken  ○ not reached  ● held  · not played" in drawn
    colours = [part.partition('"')[0] for part in drawn.split("background:")[1:]]
    assert len(set(colours)) == len(colours) == 2


def test_the_frame_stands_in_the_order_of_the_lists() -> None:
    """Failpoints as the list has them, two in a cell by the first, however the cells came in."""
    names = [OPEN, f"{OPEN}+{SEND}", SEND, "goods.return_stock.after_commit"]
    cells = [
        CellResult(Cell("cancelled", tuple(name.split("+"))), HELD, "", 1, 1) for name in names
    ]
    assert list(report(*cells[::-1]).grid().index) == names
