"""A cell of the matrix, and what came of it."""

from dataclasses import dataclass
from typing import Any

from labkit.runtime.injection.boundaries import TIMED

HELD, BROKEN, NOT_REACHED = "held", "broken", "not reached"
#: verdict → its sign, the worst first.
SIGNS = {BROKEN: "✗", NOT_REACHED: "○", HELD: "●"}
CRASH = "crash"


@dataclass(frozen=True)
class Cell:
    """A scenario, and where something is made to fail in it.

    Attributes:
        scenario: its name.
        failpoints: one; two where it fails twice.
        action: what each is armed with.
    """

    scenario: str
    failpoints: tuple[str, ...]
    action: str = CRASH

    @property
    def name(self) -> str:
        """What `labkit matrix --cell` takes."""
        return f"{self.scenario}:{'+'.join(self.failpoints)}"

    @property
    def crashes(self) -> bool:
        """Whether processes die of it."""
        return self.action == CRASH

    @property
    def late_seconds(self) -> float:
        """How late things come by it: what is armed with `delay:SECONDS` is done after these."""
        verb, _, seconds = self.action.partition(":")
        return float(seconds) if verb in TIMED else 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        cell: which.
        verdict: `held`, `broken` or `not reached`.
        why: what broke, in the words of the invariant; why it was not reached.
        seconds: that it took, with all its tries.
        tries: two where it was not reached at first.
    """

    cell: Cell
    verdict: str
    why: str
    seconds: float
    tries: int

    def row(self) -> dict[str, Any]:
        """As JSON and as frames have it."""
        return {
            "scenario": self.cell.scenario,
            "failpoint": "+".join(self.cell.failpoints),
            "action": self.cell.action,
            "verdict": self.verdict,
            "why": self.why,
            "seconds": round(self.seconds, 2),
            "tries": self.tries,
        }
