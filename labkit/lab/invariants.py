"""What must be true of the data whatever fails: each invariant a named query with a sentence.

They look at the databases as they are. Those within one database hold at any moment, in one read
snapshot. Those across databases cover orders that are decided, and a breach is read again before it
is reported, because no snapshot spans two databases.
"""

import time
from typing import Any

from labkit.lab import order_invariants, pay_invariants
from labkit.lab.crossings import Finding
from labkit.lab.data import Reader
from labkit.lab.rules import Across, Local

_LOOKS = 3
_BETWEEN_LOOKS = 0.3
_SHOWN = 20

INVARIANTS: tuple[Local | Across, ...] = (
    *order_invariants.WITHIN,
    *pay_invariants.WITHIN,
    *order_invariants.ACROSS,
    *pay_invariants.ACROSS,
)


def check(reader: Reader) -> list[dict[str, Any]]:
    """Look at every invariant.

    Args:
        reader: of the lab's databases.

    Returns:
        For each: `name`, `held`, `looked_at` (rows), `broken` (what breaks it, 20 at most).
    """
    return [_check(reader, one) for one in INVARIANTS]


def _check(reader: Reader, one: Local | Across) -> dict[str, Any]:
    found = one.look(reader)
    for _ in range(_LOOKS - 1 if isinstance(one, Across) else 0):
        if not found.broken:
            break
        time.sleep(_BETWEEN_LOOKS)
        again = one.look(reader)
        found = Finding(again.looked_at, [text for text in again.broken if text in found.broken])
    return {"name": one.name, "held": not found.broken, "looked_at": found.looked_at,
            "broken": found.broken[:_SHOWN]}  # fmt: skip
