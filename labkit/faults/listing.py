"""What of a lab is broken on purpose just now."""

from typing import Any

from labkit.faults.undo_notes import list_notes
from labkit.home import Home
from labkit.runtime.injection.failpoints import FailpointStore


def list_standing(home: Home) -> list[dict[str, Any]]:
    """List the faults that somebody holds, with their process, and the failpoints that are armed.

    `labkit fault --clear` ends them all.
    """
    held = [row for row in list_notes(home) if not row["fault"].startswith("armed ")]
    armed = FailpointStore(home.faults).armed()
    return held + [
        {"fault": f"armed {name} {fault['action']} {fault['times']}", "held by": None}
        for name, fault in armed.items()
    ]
