"""Playing what must find a bug, on a lab of its own that has it; and on one that has not."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from course.bugs.bug import Bug
from course.bugs.patching import bugs_in
from course.bugs.stories import STORIES
from labkit.matrix import customer as customers
from labkit.matrix import plan
from labkit.matrix import runner as runners
from labkit.matrix.cells import Cell
from labkit.matrix.customer import Unexpected
from labkit.matrix.labs import parallel_labs
from labkit.matrix.runner import Runner
from labkit.matrix.scenario import SCENARIOS, Scenario
from tests.support.not_here import NotHere

_SECONDS = 12.0
_NEVER = "was never run"
#: What could not be played: neither found nor missed.
NOT_HERE = "NOT PLAYABLE HERE"


@dataclass(frozen=True)
class Finding:
    """The outcome of looking for a bug.

    Attributes:
        bug: its name.
        by: the cell or story that was played last.
        words: what did not hold, in the words of what found it; empty where all held.
        is_found: whether these say what the bug breaks, and its code was run.
        seconds: that it took, with starting the lab.
    """

    bug: str
    by: str
    words: str
    is_found: bool
    seconds: float


def look_for(bug: Bug, fixes: Mapping[str, str] | None = None) -> Finding:
    """Play what must find a bug on a lab that has it; once more where that did not find it.

    On a busy machine a call may be late, and an order that a story begins with is not placed; and
    those who race may miss each other. Where a fix has all hold, that is the answer.

    Args:
        bug: which.
        fixes: `module:name` → code that stands there instead of the bug.
    """
    began = time.monotonic()
    by, words = _look(bug, fixes)
    if not _is_found(bug, words) and (words or not fixes):
        by, words = _look(bug, fixes)
    return Finding(bug.name, by, words, _is_found(bug, words), time.monotonic() - began)


def _is_found(bug: Bug, words: str) -> bool:
    return bug.breaks in words and _NEVER not in words


def _look(bug: Bug, fixes: Mapping[str, str] | None) -> tuple[str, str]:
    """Try once: return what was played last, and what did not hold."""
    by = words = ""
    patience = nullcontext() if fixes else _patience(bug)  # what is right may take its time
    with tempfile.TemporaryDirectory(prefix="bug-") as folder, patience:
        place = Path(folder)
        labs = parallel_labs(place, 1, patient=bug.asks_again)
        with bugs_in(place / "bug", bug, fixes=fixes) as proof, labs as (lab,):
            runner = _Once(lab)
            for by in bug.found_by:
                words = play(runner, by, bug.action)
                if words:  # nothing that comes after says anything
                    break
            runner.close()
            missed = bug.patches.keys() - _messages(bug) - proof.reached()
    never = [f"the code of {where} {_NEVER}" for where in sorted(missed)]
    return by, "; ".join([*never, *([words] if words else [])])


def play_all(bugs: Iterable[Bug]) -> Iterator[tuple[str, str]]:
    """Play what finds these bugs on one lab that has none.

    Returns:
        Each cell and story, and what did not hold: that should be nothing.
    """
    wanted = dict.fromkeys((by, bug.action) for bug in bugs for by in bug.found_by)
    with tempfile.TemporaryDirectory() as folder, parallel_labs(Path(folder), 1) as (lab,):
        runner = Runner(lab)
        for by, action in wanted:
            yield by, play(runner, by, action)
        runner.close()


def play(runner: Runner, by: str, action: str) -> str:
    """Play a cell or a story; what did not hold, in words, or nothing."""
    if ":" in by:
        return runner.run_cell(read(by, action)).why
    try:
        runner.run_baseline((STORIES | SCENARIOS)[by])
    except Unexpected as error:
        return str(error)
    except NotHere as error:
        return f"{NOT_HERE}: {error}"
    return ""


def read(by: str, action: str) -> Cell:
    """Return the cell of that name.

    Raises:
        ValueError: there is none.
    """
    return plan.parse_cell(by, action)


class _Once(Runner):
    """Plays until something breaks, and each once; the lab goes then."""

    def run_baseline(self, scenario: Scenario) -> frozenset[str]:
        """Run a scenario once only."""
        return self._attempt_baseline(scenario)

    def _reset(self) -> None:
        """Leave the lab as it is: nothing is run on it any more."""


def _messages(bug: Bug) -> set[str]:
    """Places of a bug at which no function stands, which could be run."""
    return {where for where, new in bug.patches.items() if isinstance(new, type)}


@contextmanager
def _patience(bug: Bug) -> Iterator[None]:
    """Wait less than a matrix does for what a bug has never come."""
    if not bug.waits:
        yield
        return
    with (
        mock.patch.object(runners, "_SETTLED_SECONDS", _SECONDS),
        mock.patch.object(customers, "_FINAL_SECONDS", _SECONDS),
    ):
        yield
