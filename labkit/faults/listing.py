"""The list of all that is broken in a lab on purpose just now."""

from labkit.faults.undo_notes import StandingRow, list_notes
from labkit.home import Home
from labkit.runtime.injection.failpoints import FailpointStore


def list_standing(home: Home) -> list[StandingRow]:
    """List the faults that somebody holds, with their process, and the failpoints that are armed.

    `labkit fault --clear` ends them all.
    """
    held = [row for row in list_notes(home) if not row["fault"].startswith("armed ")]
    armed = FailpointStore(home.faults).armed()
    return held + [
        {"fault": f"armed {name} {arming['action']} {arming['times']}", "held by": None}
        for name, armings in armed.items()
        for arming in armings
    ]
