"""Stored deadlines: the wall-clock times at which something is tried again.

Before a boot of the machine its wall clock may have been hours ahead. What was postponed under it
would be tried hours late by a clock that is right.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Column, ColumnElement, Executable, or_, select, update

from labkit.runtime.db.statements import Statement
from labkit.runtime.db.tables import SENT, UNSENT, WAITING, inbox, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.outbox import longest_delay_s
from labkit.settings import Settings

_MARGIN_S = 60.0  # that the clocks of two machines may differ by


@dataclass(frozen=True)
class Deadline:
    """A column that holds the time of the next try, in milliseconds of the wall clock.

    Attributes:
        column: the column.
        waiting: the rows that are tried again; an index finds them.
    """

    column: Column[object]
    waiting: ColumnElement[bool]


#: Those that every service has.
RUNTIME_DEADLINES = (
    Deadline(outbox.c.next_try, or_(outbox.c.status == UNSENT, outbox.c.status == SENT)),
    Deadline(inbox.c.next_try, inbox.c.status == WAITING),
)


def make_due(tx: Transaction, deadlines: Iterable[Deadline]) -> None:
    """Make due now what no schedule can have postponed so far: its clock was ahead."""
    latest = tx.wall_ms + int((_longest_delay_s(tx.settings) + _MARGIN_S) * 1000)
    for deadline in deadlines:
        if tx.first(_too_late(deadline)(latest)):
            too_late = deadline.waiting & (deadline.column > latest)
            values = {deadline.column: tx.wall_ms}
            tx.execute(update(deadline.column.table).where(too_late).values(values))


@cache
def _too_late(deadline: Deadline) -> Statement[[int]]:
    def find(latest: int) -> Executable:
        too_late = deadline.waiting & (deadline.column > latest)
        return select(deadline.column).where(too_late).limit(1)

    return Statement(find)


def _longest_delay_s(settings: Settings) -> float:
    retries = (settings.retry_max, settings.check_first, settings.check_max)
    return max(*retries, longest_delay_s(settings))
