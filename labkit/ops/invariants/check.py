"""The check of all invariants: what must be true of the data whatever fails.

The check reads the databases as they are. Invariants within one database hold at any moment. Those
across databases hold for what is decided, and a breach is checked again before it is reported,
because no snapshot spans two databases.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TypedDict

from labkit.ops.history import History
from labkit.ops.invariants import (
    answers,
    credits,
    deadlines,
    deductions,
    messages,
    messages_across,
    orders,
    orders_across,
    payments,
    payments_across,
    platform,
    requests,
    views,
)
from labkit.ops.invariants.kinds import Across, Clocks, Finding, Invariant
from labkit.ops.invariants.mirror import open_mirror
from labkit.ops.reader import Reader
from labkit.runtime.clock import LabClock, as_time, wall_ms_of

_MAX_LOOKS = 3
_BETWEEN_LOOKS = 0.3
_MAX_SHOWN = 20
_AHEAD = timedelta(days=1)  # more than any clock is wrong that a fault has stepped

INVARIANTS: tuple[Invariant, ...] = (
    *orders.WITHIN,
    *requests.WITHIN,
    *deductions.WITHIN,
    *payments.WITHIN,
    *credits.WITHIN,
    *platform.WITHIN,
    *messages.WITHIN,
    *orders_across.ACROSS,
    *payments_across.ACROSS,
    *messages_across.ACROSS,
    *answers.ACROSS,
    *deadlines.ACROSS,
)


class CheckResult(TypedDict):
    """The result of one invariant, as `labkit check --json` prints it.

    Keys:
        name: of the invariant.
        held: True if nothing breaks it.
        looked_at: the number of rows that were read.
        broken: the breaches in words, 20 at most.
    """

    name: str
    held: bool
    looked_at: int
    broken: list[str]


def check(reader: Reader) -> list[CheckResult]:
    """Check every invariant.

    Args:
        reader: of the lab's databases.
    """
    findings = _evaluate(reader, INVARIANTS)
    for _ in range(_MAX_LOOKS - 1):
        doubtful = [
            invariant
            for invariant in INVARIANTS
            if isinstance(invariant, Across) and findings[invariant.name].broken
        ]
        if not doubtful:
            break
        time.sleep(_BETWEEN_LOOKS)
        for name, again in _evaluate(reader, doubtful).items():
            before = set(findings[name].broken)
            repeated = [breach for breach in again.broken if breach in before]
            findings[name] = Finding(again.looked_at, repeated)
    return [
        {
            "name": name,
            "held": not finding.broken,
            "looked_at": finding.looked_at,
            "broken": finding.broken[:_MAX_SHOWN],
        }
        for name, finding in findings.items()
    ]


def clocks(reader: Reader) -> Clocks:
    """Read the clocks with which times in the databases are compared."""
    now_ms = wall_ms_of(reader.home)
    # first data have wall-clock times where a reset died before it set the lab clock back
    latest = max(LabClock(reader.home.clock_file).now(), as_time(now_ms)) + _AHEAD
    return {"now_ms": now_ms, "latest": str(latest)}


def _evaluate(reader: Reader, invariants: Sequence[Invariant]) -> dict[str, Finding]:
    """Evaluate invariants, on two mirrors at once where opening a second one costs nothing."""
    clock_values = clocks(reader)
    exchanges = History(reader.home).exchanges()  # before the databases, which must have them all

    # Hashing holds Python's lock at each row: two threads that hash would wait for each other.
    waiting = deque(sorted(invariants, key=lambda invariant: "sha256" in invariant.breach_sql))

    def work(take: Callable[[], Invariant]) -> dict[str, Finding]:
        findings = {}
        with open_mirror(reader) as mirror:
            views.create_tables(mirror)
            answers.create_tables(mirror, exchanges)
            while waiting:
                with suppress(IndexError):  # the other thread has taken the last
                    invariant = take()
                    findings[invariant.name] = invariant.evaluate(mirror, clock_values)
        return findings

    is_cheap = len(invariants) > 2 and reader.are_files()
    ends = [waiting.pop, waiting.popleft] if is_cheap else [waiting.pop]
    with ThreadPoolExecutor(len(ends)) as pool:
        parts = list(pool.map(work, ends))
    findings = {name: finding for part in parts for name, finding in part.items()}
    return {invariant.name: findings[invariant.name] for invariant in invariants}
