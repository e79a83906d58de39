"""Cells of the crash matrix and their results."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from labkit.runtime.injection.boundaries import TIMED


class CellVerdict(StrEnum):
    """Verdicts on a cell, the worst first."""

    BROKEN = "broken"
    NOT_REACHED = "not reached"
    HELD = "held"


#: verdict → its sign, the worst first.
SIGNS: Mapping[str, str] = {
    CellVerdict.BROKEN: "✗",
    CellVerdict.NOT_REACHED: "○",
    CellVerdict.HELD: "●",
}
CRASH = "crash"


@dataclass(frozen=True)
class Cell:
    """A scenario, and where something is made to fail in it.

    Attributes:
        scenario: its name.
        failpoints: one, or two for a pair.
        action: with which each failpoint is armed.
    """

    scenario: str
    failpoints: tuple[str, ...]
    action: str = CRASH

    @property
    def name(self) -> str:
        """Return the cell's name, as `labkit matrix --cell` takes it."""
        return f"{self.scenario}:{'+'.join(self.failpoints)}"

    @property
    def kills(self) -> bool:
        """Return True if the action kills the process that reaches the failpoint."""
        return self.action == CRASH

    @property
    def delay_seconds(self) -> float:
        """Return the seconds of a `delay:SECONDS`, after which the delayed work is done; else 0."""
        verb, _, seconds = self.action.partition(":")
        return float(seconds) if verb in TIMED else 0.0


@dataclass(frozen=True)
class CellResult:
    """The result of running a cell.

    Attributes:
        cell: which.
        verdict: `held`, `broken` or `not reached`.
        why: what broke, in the words of the invariant; or which failpoint was not reached.
        seconds: the running time of all attempts.
        tries: two where the failpoints were not reached at first.
    """

    cell: Cell
    verdict: CellVerdict
    why: str
    seconds: float
    tries: int

    def row(self) -> dict[str, object]:
        """Return the result as a row of the report's JSON and frame."""
        return {
            "scenario": self.cell.scenario,
            "failpoint": "+".join(self.cell.failpoints),
            "action": self.cell.action,
            "verdict": str(self.verdict),
            "why": self.why,
            "seconds": round(self.seconds, 2),
            "tries": self.tries,
        }
