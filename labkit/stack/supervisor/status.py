"""The status that a supervisor last wrote: it may have died since, and other processes with it."""

from labkit.home import DATABASES, ENDPOINTS, Home
from labkit.stack.supervisor.holder import holder_of
from labkit.state import LabState, LabStatus

#: The part of a status that is the same in each home in which nothing ever ran.
EMPTY_STATUS: LabState = {
    "stack": None,
    "endpoints": dict.fromkeys(ENDPOINTS),
    "databases": dict.fromkeys(DATABASES),
    "services": [],
}


def status(home: Home) -> LabStatus:
    """Return what the supervisor knows of a home, in the shape that `labkit status --json` prints.

    Whether each process answers is another question: see `health.ask`.
    """
    state, holder = home.state(), holder_of(home)
    if not holder or not holder.wrote(state):
        state = {**EMPTY_STATUS, **state}
        state["endpoints"] = dict.fromkeys(ENDPOINTS)
        state["supervisor"] = None
        state["services"] = [
            {**service, "pid": None, "endpoint": None, "state": "down"}
            for service in state["services"]
        ]
    return {
        "stack": state["stack"],
        "home": str(home.folder),
        "endpoints": state["endpoints"],
        "databases": state["databases"],
        "services": state["services"],
        "supervisor": state["supervisor"],
    }
