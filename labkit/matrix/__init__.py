"""The crash matrix: every scenario is played with a crash at every failpoint that it reaches."""

from labkit.matrix import (  # noqa: F401  # they tell stories
    lives,
    outages,
    overtaken,
    paying,
    placing,
    refusals,
)
from labkit.matrix.cells import Cell, Outcome
from labkit.matrix.report import Report
from labkit.matrix.running import run
from labkit.matrix.scenario import SCENARIOS

__all__ = ["SCENARIOS", "Cell", "Outcome", "Report", "run"]
