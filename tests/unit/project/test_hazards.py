"""The page of hazards is whole: each has what holds against it, and all that shows it exists."""

import re
from pathlib import Path

import pytest

from course.bugs.bug import shelf
from labkit.matrix import SCENARIOS
from labkit.ops.invariants.check import INVARIANTS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "hazards.md").read_text(encoding="utf-8")
HAZARDS = dict(re.findall(r"(?ms)^### (\d+)\. .*?\n(.*?)(?=^##|\Z)", PAGE))


def test_there_are_28_in_order() -> None:
    """The hazards are numbered from 1 to 28, so that code and tests can refer to a number."""
    assert list(HAZARDS) == [str(number) for number in range(1, 29)]


@pytest.mark.parametrize("number", HAZARDS)
def test_a_hazard_says_what_holds_and_what_shows_it(number: str) -> None:
    """Each hazard is described, says what holds against it, and names a test that shows it."""
    description, _, rest = HAZARDS[number].partition("- **Holds:** ")
    held, _, shown = rest.partition("- **Shown by:** ")
    assert description.strip()
    assert held.strip()
    assert "`test_" in shown


@pytest.mark.parametrize("number", HAZARDS)
def test_all_that_shows_a_hazard_exists(number: str) -> None:
    """Every bug, invariant and scenario that a hazard names is one of labkit's."""
    shown = " ".join(HAZARDS[number].partition("- **Shown by:** ")[2].split())
    invariants, bugs = ({*names} for names in (_italics(shown), re.findall(r"`([a-z-]+)`", shown)))
    assert invariants <= {invariant.name for invariant in INVARIANTS}
    assert bugs <= shelf().keys() | SCENARIOS.keys()


def _italics(text: str) -> list[str]:
    return re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", text)
