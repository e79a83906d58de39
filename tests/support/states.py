"""States of a home, as a supervisor writes them."""

import json
from typing import Any

from labkit.stack.supervisor.recorded import NOTHING


def state_in_json(**said: Any) -> str:
    """Return a whole state that says some things of its own."""
    whole = {"phase": "up", "generation": 0, "topic_prefix": "", "supervisor": None}
    return json.dumps(whole | NOTHING | said)
