"""The crash matrix: every scenario is run with a crash at every failpoint that it reaches."""

from labkit.matrix import (  # noqa: F401  # they register scenarios, listed in this order
    lab_lifecycle,
    outages,
    overtaken_answers,
    paying,
    placing,
    refusals,
)
from labkit.matrix.cells import Cell, CellResult
from labkit.matrix.report import Report
from labkit.matrix.running import run
from labkit.matrix.scenario import SCENARIOS

__all__ = ["SCENARIOS", "Cell", "CellResult", "Report", "run"]
