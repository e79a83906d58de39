"""The report of a run of the matrix."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from labkit.faults.points import catalogue
from labkit.matrix.cells import CRASH, CellResult, CellVerdict
from labkit.matrix.scenario import SCENARIOS
from labkit.matrix.verdict_grid import VerdictGrid


@dataclass(frozen=True)
class Report:
    """The results of a run.

    Attributes:
        columns: scenario → the failpoints that it reaches; empty where cells were named.
        results: of the cells, as they came.
        unreached: failpoints that no scenario reaches; empty where not all scenarios were run.
        seed: of the run.
        seconds: the running time.
        labs: how many ran side by side.
    """

    columns: Mapping[str, frozenset[str]]
    results: list[CellResult]
    unreached: list[str]
    seed: int
    seconds: float
    labs: int

    @property
    def broken(self) -> list[CellResult]:
        """Return the results of the cells in which something does not hold."""
        return [result for result in self.results if result.verdict == CellVerdict.BROKEN]

    @property
    def failed(self) -> bool:
        """Return True if a cell is broken, or no scenario reaches some failpoint."""
        return bool(self.broken or self.unreached)

    @property
    def counts(self) -> Counter[str]:
        """Count the cells of each verdict."""
        return Counter(str(result.verdict) for result in self.results)

    def cell_seconds(self) -> tuple[float, float]:
        """Return the median and the longest time of a cell; zeros where there was none."""
        took = [result.seconds for result in self.results] or [0.0]
        return statistics.median(took), max(took)

    def command(self, result: CellResult) -> str:
        """Return the command that runs a cell again, alone."""
        cell = result.cell
        action = "" if cell.action == CRASH else f" --action {cell.action}"
        return f"labkit matrix --cell {cell.name}{action} --seed {self.seed}"

    def summary(self) -> Iterator[str]:
        """Yield the lines that the command line prints at the end."""
        for result in self.results:
            if result.verdict == CellVerdict.NOT_REACHED:
                yield f"not reached, tried twice: {result.cell.name}: {result.why}"
        for result in self.broken:
            yield f"BROKEN {result.cell.name}: {result.why}"
            yield f"  again: {self.command(result)}"
        for name in self.unreached:
            yield f"NO SCENARIO REACHES {name}"
        counts = ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items())
        scenarios = {result.cell.scenario for result in self.results}
        reached = {name for result in self.results for name in result.cell.failpoints}
        yield (
            f"{len(self.results)} cells: {counts}; {len(scenarios)} scenarios, "
            f"{len(reached)} failpoints; seed {self.seed}"
        )
        median, longest = self.cell_seconds()
        yield (
            f"{median:.1f} s a cell (p50), {longest:.1f} s at most; "
            f"{self.seconds:.0f} s in all, {self.labs} labs side by side"
        )

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each cell: scenario, failpoint, action, verdict, why, seconds, tries."""
        return [result.row() for result in self.results]

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame."""
        return pd.DataFrame(self.rows())

    def grid(self) -> VerdictGrid:
        """Draw the verdicts, failpoint by scenario; empty where there is no cell.

        Scenarios and failpoints stand in the order in which they are listed.
        """
        table = self.frame().pivot_table(
            index="failpoint", columns="scenario", values="verdict", aggfunc="first"
        )
        listed = list(catalogue())
        return VerdictGrid(
            table.reindex(
                index=sorted(table.index, key=lambda name: [*map(listed.index, name.split("+"))]),
                columns=[name for name in SCENARIOS if name in table],
            ).fillna("")
        )

    def as_json(self) -> dict[str, object]:
        """Return the whole report in JSON's types."""
        median, longest = self.cell_seconds()
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "labs": self.labs,
            "counts": dict(self.counts),
            "seconds_a_cell": {"p50": median, "max": longest},
            "scenarios": {name: SCENARIOS[name].summary for name in self.columns},
            "columns": {name: sorted(column) for name, column in self.columns.items()},
            "unreached": self.unreached,
            "cells": self.rows(),
        }
