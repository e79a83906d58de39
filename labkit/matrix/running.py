"""Running the matrix: find what each scenario reaches, then play the cells on labs side by side."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from labkit.faults import points
from labkit.matrix import plan
from labkit.matrix.cells import CRASH, Cell, Outcome
from labkit.matrix.labs import map_unordered, side_by_side
from labkit.matrix.player import Runner
from labkit.matrix.report import Report
from labkit.matrix.scenario import SCENARIOS

_MOST_LABS = 8
#: Told what is being done, how much of it is done, how much there is, and what came of a cell.
Progress = Callable[[str, int, int, Outcome | None], None]


def _silent(_what: str, _done: int, _number: int, _outcome: Outcome | None) -> None:
    """Tell nobody."""


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
    progress: Progress = _silent,
) -> Report:
    """Play the crash matrix, or a part of it.

    Args:
        seed: of the order of the cells, the sample and the pairs; drawn where not given.
        labs: how many side by side; two for each core where not given.
        action: `crash`, `delay:SECONDS`, `refuse` or `duplicate`.
        only: patterns of cells, as `paid*:pay.*`, or of scenarios, as `refused-*`.
        sample: play but so many cells, drawn from a few scenarios.
        pairs: play so many pairs instead: two failpoints of one scenario in one cell.
        cells: play just these, each `SCENARIO:FAILPOINT` or `SCENARIO:FAILPOINT+FAILPOINT`.
        patient: give each call four times as long, so that what was killed is back in time on a
            busy machine too, and is asked again; else its order may be cancelled, which is right
            as well, and shows less.
        folder: where the labs' homes are made, and removed; a temporary one where not given.
        progress: told how it goes.

    Returns:
        What came of each cell, what each scenario reaches, and what none does.

    Raises:
        ValueError: there is no such cell, or nothing matches, or a delay has no seconds.
        Unexpected: a scenario does not end as it must, without a fault.
    """
    points.check_seconds(action)
    began, seed = time.monotonic(), random.randrange(10_000) if seed is None else seed
    named = [plan.read(name, action) for name in cells]
    chance, only = random.Random(seed), tuple(only)
    wanted = [] if named else plan.scenarios(only, sample, chance)
    number = labs or min(_MOST_LABS, 2 * (os.cpu_count() or 1), max(len(named), len(wanted)))
    where = tempfile.TemporaryDirectory(prefix="matrix-", dir=folder)
    with where as place, side_by_side(Path(place), number, patient) as opened:
        players = [Runner(lab) for lab in opened]
        columns = _columns(players, wanted, progress)
        whole = not (named or only or sample or pairs) and action == CRASH
        if whole and plan.unreached(columns):  # a story comes by some places only now and then
            again = _columns(players, wanted, progress)
            columns = {name: columns[name] | again[name] for name in wanted}
        chosen = named or _choose(columns, only, action, sample, pairs, chance)
        outcomes = _play(players, chosen, progress)
        for player in players:
            player.close()
    return Report(
        columns,
        outcomes,
        plan.unreached(columns) if whole else [],
        seed,
        time.monotonic() - began,
        number,
    )


def _columns(players: list[Runner], wanted: list[str], progress: Progress) -> plan.Columns:
    """What each scenario reaches, told once without a fault."""
    columns: dict[str, frozenset[str]] = {}

    def find(player: Runner, name: str) -> tuple[str, frozenset[str]]:
        return name, player.column(SCENARIOS[name])

    for name, column in map_unordered(players, find, wanted):
        columns[name] = column
        progress("scenarios without a fault", len(columns), len(wanted), None)
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


def _play(players: list[Runner], cells: list[Cell], progress: Progress) -> list[Outcome]:
    outcomes = []
    for outcome in map_unordered(players, Runner.play, cells):
        outcomes.append(outcome)
        progress("cells", len(outcomes), len(cells), outcome)
    return outcomes
