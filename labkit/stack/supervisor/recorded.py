"""What the supervisor last wrote of a home: it may have died since, and others with it."""

from typing import Any

from labkit.home import DATABASES, ENDPOINTS, Home
from labkit.stack.supervisor.holder import holder_of

#: What `labkit status` says of a home in which nothing ever ran.
NOTHING: dict[str, Any] = {
    "stack": None,
    "endpoints": dict.fromkeys(ENDPOINTS),
    "databases": dict.fromkeys(DATABASES),
    "services": [],
}


def status(home: Home) -> dict[str, Any]:
    """Return what the supervisor knows of a home, in the shape that `labkit status --json` prints.

    Whether each process answers is another question: see `health.ask`.
    """
    state, holder = home.state(), holder_of(home)
    if not holder or not holder.wrote(state):
        stopped = [
            {**one, "pid": None, "endpoint": None, "state": "down"}
            for one in state.get("services", [])
        ]
        gone = {"endpoints": dict.fromkeys(ENDPOINTS), "services": stopped, "supervisor": None}
        state = {**NOTHING, **state, **gone}
    state = {**state, "home": str(home.folder)}
    return {
        key: state[key]
        for key in ("stack", "home", "endpoints", "databases", "services", "supervisor")
    }
