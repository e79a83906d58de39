"""States of a home, as a supervisor writes them."""

import json
from typing import Any

from labkit.stack.supervisor.status import EMPTY_STATUS


def state_in_json(**fields: Any) -> str:
    """Return a whole state that says some things of its own."""
    whole = {"phase": "up", "generation": 0, "topic_prefix": "", "supervisor": None}
    return json.dumps(whole | EMPTY_STATUS | fields)
