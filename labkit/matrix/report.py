"""What a run of the matrix found."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from labkit.faults.points import catalogue
from labkit.matrix.cells import BROKEN, CRASH, NOT_REACHED, Outcome
from labkit.matrix.heat import VerdictGrid
from labkit.matrix.scenario import SCENARIOS


@dataclass(frozen=True)
class Report:
    """The outcomes of a run.

    Attributes:
        columns: scenario → the failpoints that it reaches; empty where cells were named.
        outcomes: of the cells, as they came.
        unreached: failpoints that no scenario reaches, where all were looked for.
        seed: of the run.
        seconds: that it took.
        labs: how many were side by side.
    """

    columns: Mapping[str, frozenset[str]]
    outcomes: list[Outcome]
    unreached: list[str]
    seed: int
    seconds: float
    labs: int

    @property
    def broken(self) -> list[Outcome]:
        """The cells in which something does not hold."""
        return [outcome for outcome in self.outcomes if outcome.verdict == BROKEN]

    @property
    def failed(self) -> bool:
        """Whether a cell is broken, or a failpoint is reached by no scenario."""
        return bool(self.broken or self.unreached)

    @property
    def counts(self) -> Counter[str]:
        """Verdict → cells."""
        return Counter(outcome.verdict for outcome in self.outcomes)

    def cell_seconds(self) -> tuple[float, float]:
        """The median and the longest time of a cell; zeros where there was none."""
        took = [outcome.seconds for outcome in self.outcomes] or [0.0]
        return statistics.median(took), max(took)

    def command(self, outcome: Outcome) -> str:
        """What repeats a cell alone."""
        cell = outcome.cell
        action = "" if cell.action == CRASH else f" --action {cell.action}"
        return f"labkit matrix --cell {cell.name}{action} --seed {self.seed}"

    def summary(self) -> Iterator[str]:
        """What people are told at the end, in lines."""
        for one in self.outcomes:
            if one.verdict == NOT_REACHED:
                yield f"not reached, tried twice: {one.cell.name}: {one.why}"
        for one in self.broken:
            yield f"BROKEN {one.cell.name}: {one.why}"
            yield f"  again: {self.command(one)}"
        for name in self.unreached:
            yield f"NO SCENARIO REACHES {name}"
        told = ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items())
        stories = {outcome.cell.scenario for outcome in self.outcomes}
        reached = {name for outcome in self.outcomes for name in outcome.cell.failpoints}
        yield (
            f"{len(self.outcomes)} cells: {told}; {len(stories)} scenarios, "
            f"{len(reached)} failpoints; seed {self.seed}"
        )
        median, longest = self.cell_seconds()
        yield (
            f"{median:.1f} s a cell (p50), {longest:.1f} s at most; "
            f"{self.seconds:.0f} s in all, {self.labs} labs side by side"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each cell: scenario, failpoint, action, verdict, why, seconds, tries."""
        return [outcome.row() for outcome in self.outcomes]

    def frame(self) -> pd.DataFrame:
        """The rows as a frame."""
        return pd.DataFrame(self.rows())

    def heat(self) -> VerdictGrid:
        """Failpoint by scenario: the verdict of each cell, drawn; empty where there is none.

        Stories and failpoints stand in the order in which they are listed.
        """
        table = self.frame().pivot_table(
            index="failpoint", columns="scenario", values="verdict", aggfunc="first"
        )
        listed = list(catalogue())
        return VerdictGrid(
            table.reindex(
                index=sorted(table.index, key=lambda one: [*map(listed.index, one.split("+"))]),
                columns=[name for name in SCENARIOS if name in table],
            ).fillna("")
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        median, longest = self.cell_seconds()
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "labs": self.labs,
            "counts": dict(self.counts),
            "seconds_a_cell": {"p50": median, "max": longest},
            "scenarios": {name: SCENARIOS[name].says for name in self.columns},
            "columns": {name: sorted(column) for name, column in self.columns.items()},
            "unreached": self.unreached,
            "cells": self.rows(),
        }
