"""The runs of the bench on this machine, a line of JSON each, so that a regression is seen."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure


def last_values(history: Path, kind: str) -> Mapping[str, float | None]:
    """Return the values of the last run of a kind, by the names of the figures.

    Args:
        history: the file; it need not be there. A line that cannot be read is passed over.
        kind: of the run, as `embedded, quick`.
    """
    if not history.exists():
        return {}
    for line in reversed(history.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            run = json.loads(line)
            if run["kind"] == kind:
                return {figure["name"]: figure["value"] for figure in run["figures"]}
        except (ValueError, KeyError, TypeError):  # a run that ended while it wrote
            continue
    return {}


def keep(history: Path, kind: str, figures: Sequence[Figure]) -> None:
    """Add a run to the file."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    run = {"at": at, "kind": kind, "figures": [figure.as_json() for figure in figures]}
    with history.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(run) + "\n")
