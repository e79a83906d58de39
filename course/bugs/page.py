"""The page of bugs: its table, as a run found them."""

import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from course.bugs.bug import Bug, shelf
from course.bugs.finding import Search
from course.bugs.running import Finding
from labkit.matrix.cells import CRASH

_TABLE = re.compile(r"(<!-- bugs -->\n).*(<!-- /bugs -->)", re.DOTALL)
_TWIN = re.compile(r"(<!-- twin -->\n).*(<!-- /twin -->)", re.DOTALL)
_ROW = re.compile(r"^(\| `([\w-]+)` \|.*)$", re.MULTILINE)
_LONG_NUMBER = re.compile(r"\b\d{10,}\b")
_OF_A_STORY = ", without a fault: "
_SHOWN = 160


def renew(page: Path, bugs: Sequence[Bug], findings: Sequence[Finding]) -> None:
    """Put what a run found into a page between its marks; rows of bugs that did not run stay.

    Raises:
        ValueError: the page has no such marks, or no row of a bug that did not run.
    """
    text = page.read_text(encoding="utf-8")
    table = _TABLE.search(text)  # the page has another one, with rows of the same names
    rows = {name: line for line, name in _ROW.findall(table[0] if table else "")} | {
        bug.name: row(bug, finding) for bug, finding in zip(bugs, findings, strict=True)
    }
    if missing := shelf().keys() - rows.keys():
        raise ValueError(f"{page} has no row of {', '.join(sorted(missing))}: name them as well")
    lines = "\n".join([*_head(len(findings)), *(rows[name] for name in shelf())])
    renewed, number = _TABLE.subn(lambda match: f"{match[1]}{lines}\n{match[2]}", text)
    if number != 1:
        raise ValueError(f"{page} has not one table between <!-- bugs --> and <!-- /bugs -->")
    page.write_text(renewed, encoding="utf-8")


def _head(ran: int) -> list[str]:
    today = f"{datetime.now(UTC):%Y-%m-%d}: {platform.system()}, Python {platform.python_version()}"
    return [
        f"{len(shelf())} bugs. The last run was of {ran}, on {today}.",
        "",
        "| bug | what its programmer thought | flaw | found by | what it says | seconds |",
        "|---|---|---|---|---|---|",
    ]


def renew_twin(page: Path, searches: Sequence[Search], seconds: float) -> None:
    """Put what a run of the twin found into a page between its marks.

    Args:
        page: the page.
        searches: of the bugs that the twin is to find.
        seconds: that they took together.

    Raises:
        ValueError: the page has no such marks.
    """
    finds = sum(done.life is not None and not done.is_kept for done in searches)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = "\n".join(
        [
            f"{finds} of {len(searches)} bugs were found in {seconds:.0f} s on {today}, two at a "
            "time, without being told where.",
            "",
            "| bug | seconds | lives | the smallest life that breaks |",
            "|---|---|---|---|",
            *(_row_of_twin(done) for done in searches),
        ]
    )
    text = page.read_text(encoding="utf-8")
    renewed, number = _TWIN.subn(lambda match: f"{match[1]}{lines}\n{match[2]}", text)
    if number != 1:
        raise ValueError(f"{page} has not one table between <!-- twin --> and <!-- /twin -->")
    page.write_text(renewed, encoding="utf-8")


def _row_of_twin(done: Search) -> str:
    life = f"`{done.life.plan.token}`" if done.life else "NOT FOUND"
    if done.is_kept:
        life = f"not found; kept: {life}"
    return f"| `{done.bug}` | {done.seconds:.1f} | {done.lives} | {life} |"


def row(bug: Bug, finding: Finding) -> str:
    """Return the row of a bug."""
    says = shortened(finding.words, bug).replace("|", "\\|") if finding.is_found else "NOT FOUND"
    by = f"`{finding.by}`" + (f" ({bug.action})" if bug.action != CRASH else "")
    return (
        f"| `{bug.name}` | {bug.thought} | {bug.mirrors or '–'} | {by} | {says} "
        f"| {finding.seconds:.0f} |"
    )


def shortened(words: str, bug: Bug) -> str:
    """Shorten the words that the bug is known by, with `…` for ids."""
    sentence = next(
        (complaint for complaint in words.split("; ") if bug.breaks in complaint), words
    )
    sentence = _LONG_NUMBER.sub("…", sentence.rpartition(_OF_A_STORY)[2])
    return sentence if len(sentence) <= _SHOWN else sentence[: _SHOWN - 1] + "…"
