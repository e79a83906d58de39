"""What waits in an inbox: the deliveries that are tried again now, and when the next one is."""

from typing import NamedTuple

from sqlalchemy import Executable, select

from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import WAITING, inbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.inbox import Delivery, delivery_of
from labkit.runtime.steps import step

_BATCH = 100


@statement
def _due(now_ms: int) -> Executable:
    """The most overdue first, so that none starves."""
    due = (inbox.c.status == WAITING) & (inbox.c.next_try <= now_ms)
    return select(inbox).where(due).order_by(inbox.c.next_try).limit(_BATCH)


@statement
def _next_try(now_ms: int) -> Executable:
    later = (inbox.c.status == WAITING) & (inbox.c.next_try > now_ms)
    return select(inbox.c.next_try).where(later).order_by(inbox.c.next_try).limit(1)


class DueDeliveries(NamedTuple):
    """The deliveries that are tried again now.

    Attributes:
        deliveries: the events.
        next_ms: when the next one is due, in milliseconds of the wall clock, where one waits.
    """

    deliveries: list[Delivery]
    next_ms: int | None


@step(reads=True)
def find_due(tx: Transaction, _command: None) -> DueDeliveries:
    """Find waiting rows whose time has come, and the time of the next one.

    That is now, where more are due than are found at once.
    """
    rows = tx.run(_due(tx.wall_ms)).rows
    later = tx.first(_next_try(tx.wall_ms))
    next_ms = later.next_try if later else None
    if len(rows) == _BATCH:
        next_ms = tx.wall_ms
    return DueDeliveries([delivery_of(row) for row in rows], next_ms)
