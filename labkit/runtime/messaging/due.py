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
def _waiting() -> Executable:
    """The most overdue first, so that none starves."""
    return select(inbox).where(inbox.c.status == WAITING).order_by(inbox.c.next_try).limit(_BATCH)


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
    """Find waiting rows whose time has come, and the time of the next one."""
    rows = tx.run(_waiting()).rows
    due = [row for row in rows if row.next_try <= tx.wall_ms]
    next_ms = rows[len(due)].next_try if len(due) < len(rows) else None
    return DueDeliveries([delivery_of(row) for row in due], next_ms)
