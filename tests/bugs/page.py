"""The page of bugs: its table, as a run found them."""

import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from labkit.matrix.cells import CRASH
from tests.bugs.bug import Bug
from tests.bugs.running import Finding

_TABLE = re.compile(r"(<!-- bugs -->\n).*(<!-- /bugs -->)", re.DOTALL)
_LONG_NUMBER = re.compile(r"\b\d{10,}\b")
_OF_A_STORY = ", without a fault: "
_SHOWN = 160


def renew(page: Path, bugs: Sequence[Bug], findings: Sequence[Finding]) -> None:
    """Put what a run found into a page between its marks.

    Raises:
        ValueError: the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    lines = "\n".join(table(bugs, findings))
    renewed, number = _TABLE.subn(lambda found: f"{found[1]}{lines}\n{found[2]}", text)
    if number != 1:
        raise ValueError(f"{page} has not one table between <!-- bugs --> and <!-- /bugs -->")
    page.write_text(renewed, encoding="utf-8")


def table(bugs: Sequence[Bug], findings: Sequence[Finding]) -> list[str]:
    """The table, a line each."""
    python = platform.python_version()
    lines = [
        f"Run on {datetime.now(UTC):%Y-%m-%d}: {platform.system()}, Python {python}; "
        f"{sum(one.found for one in findings)} of {len(findings)} found.",
        "",
        "| bug | what its programmer thought | flaw | found by | what it says | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for bug, finding in zip(bugs, findings, strict=True):
        says = shortened(finding.words, bug).replace("|", "\\|") if finding.found else "NOT FOUND"
        by = f"`{finding.by}`" + (f" ({bug.action})" if bug.action != CRASH else "")
        lines.append(
            f"| `{bug.name}` | {bug.thought} | {bug.mirrors or '–'} | {by} | {says} "
            f"| {finding.seconds:.0f} |"
        )
    return lines


def shortened(words: str, bug: Bug) -> str:
    """What was found, from the words that the bug is known by, with ids told by `…`."""
    told = next((one for one in words.split("; ") if bug.breaks in one), words)
    told = _LONG_NUMBER.sub("…", told.rpartition(_OF_A_STORY)[2])
    return told if len(told) <= _SHOWN else told[: _SHOWN - 1] + "…"
