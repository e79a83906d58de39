"""What must be true of the data whatever fails: each invariant a named question with a sentence.

They look at the databases as they are. Those within one database hold at any moment. Those across
databases cover what is decided, and a breach is looked at again before it is reported, because no
snapshot spans two databases.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

from labkit.ops.history import History
from labkit.ops.invariants import (
    credits,
    deadlines,
    messages,
    messages_across,
    orders,
    orders_across,
    payments,
    payments_across,
    platform,
    requests,
    taken,
    views,
)
from labkit.ops.invariants import (
    told as told_invariants,
)
from labkit.ops.invariants.kinds import Across, Finding, Invariant
from labkit.ops.invariants.mirror import mirrored
from labkit.ops.reader import Reader
from labkit.runtime.clock import LabClock, as_time, wall_ms_of

_LOOKS = 3
_BETWEEN_LOOKS = 0.3
_SHOWN = 20
_AHEAD = timedelta(days=1)  # more than any clock is wrong that a fault has stepped

INVARIANTS: tuple[Invariant, ...] = (
    *orders.WITHIN,
    *requests.WITHIN,
    *taken.WITHIN,
    *payments.WITHIN,
    *credits.WITHIN,
    *platform.WITHIN,
    *messages.WITHIN,
    *orders_across.ACROSS,
    *payments_across.ACROSS,
    *messages_across.ACROSS,
    *told_invariants.ACROSS,
    *deadlines.ACROSS,
)


def check(reader: Reader) -> list[dict[str, Any]]:
    """Look at every invariant.

    Args:
        reader: of the lab's databases.

    Returns:
        For each: `name`, `held`, `looked_at` (rows), `broken` (what breaks it, 20 at most).
    """
    findings = _look(reader, INVARIANTS)
    for _ in range(_LOOKS - 1):
        doubtful = [
            invariant
            for invariant in INVARIANTS
            if isinstance(invariant, Across) and findings[invariant.name].broken
        ]
        if not doubtful:
            break
        time.sleep(_BETWEEN_LOOKS)
        for name, again in _look(reader, doubtful).items():
            before = set(findings[name].broken)
            findings[name] = Finding(
                again.looked_at, [one for one in again.broken if one in before]
            )
    return [
        {
            "name": name,
            "held": not found.broken,
            "looked_at": found.looked_at,
            "broken": found.broken[:_SHOWN],
        }
        for name, found in findings.items()
    ]


def clocks(reader: Reader) -> dict[str, Any]:
    """Read the clocks: `now_ms`, and the `latest` time that can have been noted."""
    now_ms = wall_ms_of(reader.home)
    # first data are of the wall clock where a reset died before it set the lab clock back
    latest = max(LabClock(reader.home.clock_file).now(), as_time(now_ms)) + _AHEAD
    return {"now_ms": now_ms, "latest": str(latest)}


def _look(reader: Reader, which: Sequence[Invariant]) -> dict[str, Finding]:
    """Look once, side by side where it costs nothing to see the databases twice."""
    values = clocks(reader)
    told = History(reader.home).told()  # before the databases, in which all of it must be

    # Who hashes holds Python's lock at each row: two at once would wait for each other.
    left = deque(sorted(which, key=lambda invariant: "sha256" in invariant.breach_sql))

    def work(take: Callable[[], Invariant]) -> dict[str, Finding]:
        found = {}
        with mirrored(reader) as mirror:
            views.prepare(mirror)
            told_invariants.prepare(mirror, told)
            while left:
                with suppress(IndexError):  # another has taken the last
                    one = take()
                    found[one.name] = one.evaluate(mirror, values)
        return found

    ends = [left.pop, left.popleft] if len(which) > 2 and reader.are_files() else [left.pop]
    with ThreadPoolExecutor(len(ends)) as pool:
        parts = list(pool.map(work, ends))
    found = {name: finding for part in parts for name, finding in part.items()}
    return {one.name: found[one.name] for one in which}
