"""Runs of the matrix: find what each scenario reaches, then run the cells on parallel labs."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from labkit.faults import points
from labkit.matrix import plan
from labkit.matrix.cells import CRASH, Cell, CellResult
from labkit.matrix.labs import map_unordered, parallel_labs
from labkit.matrix.report import Report
from labkit.matrix.runner import Runner
from labkit.matrix.scenario import SCENARIOS

_MAX_LABS = 8
#: Called with the current task, how much of it is done, how much there is, and a cell's result.
Progress = Callable[[str, int, int, CellResult | None], None]


def _silent(_task: str, _done: int, _total: int, _result: CellResult | None) -> None:
    """Report no progress."""


def run(
    *,
    seed: int | None = None,
    labs: int | None = None,
    action: str = CRASH,
    only: Iterable[str] = (),
    sample: int | None = None,
    pairs: int | None = None,
    cells: Iterable[str] = (),
    patient: bool = False,
    folder: Path | None = None,
    on_progress: Progress = _silent,
) -> Report:
    """Run the crash matrix, or a part of it.

    Args:
        seed: of the order of the cells, the sample and the pairs; drawn where not given.
        labs: how many run side by side; two for each core where not given.
        action: `crash`, `delay:SECONDS`, `refuse` or `duplicate`.
        only: patterns of cells, as `paid*:pay.*`, or of scenarios, as `refused-*`.
        sample: run only so many cells, drawn from a few scenarios.
        pairs: run so many pairs instead: two failpoints of one scenario in one cell.
        cells: run only these, each `SCENARIO:FAILPOINT` or `SCENARIO:FAILPOINT+FAILPOINT`.
        patient: give each call four times as long, so that a killed process is up again in time
            on a busy machine too, and is asked again; else its order may be cancelled, which is
            right as well, and shows less.
        folder: for the labs' homes, which are removed; a temporary one where not given.
        on_progress: called after each baseline run and each cell.

    Returns:
        The result of each cell, the failpoints that each scenario reaches, and those none does.

    Raises:
        ValueError: there is no such cell, or nothing matches, or a delay has no seconds.
        Unexpected: a scenario does not end as it must, without a fault.
    """
    points.check_seconds(action)
    began, seed = time.monotonic(), random.randrange(10_000) if seed is None else seed
    named = [plan.parse_cell(name, action) for name in cells]
    chance, only = random.Random(seed), tuple(only)
    wanted = [] if named else plan.scenarios(only, sample, chance)
    number = labs or min(_MAX_LABS, 2 * (os.cpu_count() or 1), max(len(named), len(wanted)))
    homes = tempfile.TemporaryDirectory(prefix="matrix-", dir=folder)
    with homes as path, parallel_labs(Path(path), number, patient, seed) as running:
        runners = [Runner(lab) for lab in running]
        columns = _columns(runners, wanted, on_progress)
        is_whole = not (named or only or sample or pairs) and action == CRASH
        if is_whole and plan.unreached(columns):  # some failpoints are reached only now and then
            second = _columns(runners, wanted, on_progress)
            columns = {name: columns[name] | second[name] for name in wanted}
        chosen = named or _choose(columns, only, action, sample, pairs, chance)
        results = _run_cells(runners, chosen, on_progress)
        for runner in runners:
            runner.close()
    return Report(
        columns,
        results,
        plan.unreached(columns) if is_whole else [],
        seed,
        time.monotonic() - began,
        number,
    )


def _columns(runners: list[Runner], wanted: list[str], on_progress: Progress) -> plan.Columns:
    """Run each scenario once without a fault, and map it to the failpoints that it reaches."""
    columns: dict[str, frozenset[str]] = {}

    def run_baseline(runner: Runner, name: str) -> tuple[str, frozenset[str]]:
        return name, runner.run_baseline(SCENARIOS[name])

    for name, column in map_unordered(runners, run_baseline, wanted):
        columns[name] = column
        on_progress("scenarios without a fault", len(columns), len(wanted), None)
    return columns


def _choose(
    columns: plan.Columns,
    only: tuple[str, ...],
    action: str,
    sample: int | None,
    pairs: int | None,
    chance: random.Random,
) -> list[Cell]:
    cells = plan.singles(columns, only, action)
    if not cells:
        raise ValueError(f"no failpoint that can {action} is reached by {', '.join(only) or 'any'}")
    if pairs is not None:
        cells = plan.pairs(cells, pairs, chance)
    chance.shuffle(cells)
    return cells if sample is None else cells[:sample]


def _run_cells(runners: list[Runner], cells: list[Cell], on_progress: Progress) -> list[CellResult]:
    results = []
    for result in map_unordered(runners, Runner.run_cell, cells):
        results.append(result)
        on_progress("cells", len(results), len(cells), result)
    return results
