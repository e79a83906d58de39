"""Dead letters (死信): what a person gives up, and takes back, in the outbox or inbox of a service.

A dead letter is a row that stays where it is and that nobody tries: with its body, its cause and
its place in every count. So taking it back loses nothing, and does nothing twice: the inbox row
still decides whether its handler has run.
"""

from typing import Any

from sqlalchemy import Row, Update, select, update

from labkit.results import Message, Result
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.tables import DEAD, DONE, GIVEN_UP, SENT, UNSENT, WAITING, inbox, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.inbox import Failure, dead_letter, delivery_of, given_up
from labkit.runtime.steps import step


class StuckItem(Message):
    """An event, or an item of the service's own, that is stuck, for a person to drive.

    Attributes:
        number: of the event, or of what the service has of its own (a payment, a refund).
        outbox: whether the event is stuck on its way out, and not in the inbox.
    """

    number: int
    outbox: bool = False


@step()
def give_up(tx: Transaction, item: StuckItem) -> Result[None]:
    """Make an event a dead letter, with its cause; to give it up again changes nothing."""
    row = _find(tx, item)
    if row is None or row.status not in _open(item):
        return _answer(item, row, "is given up", _dead(item))
    error = given_up(row.last_error)
    tx.execute(_update(item).values(status=_dead(item), last_error=error))
    if not item.outbox:
        kept = Failure(delivery=delivery_of(row), error=error)
        tx.emit(dead_letter(kept))
    return _answer(item, row, "is given up", row.status)


@step()
def take_back(tx: Transaction, item: StuckItem) -> Result[None]:
    """Make a dead letter wait again, due now and with all its tries before it."""
    row = _find(tx, item)
    if row is None or row.status != _dead(item):
        return _answer(item, row, "is taken back", *_open(item))
    waits = {"status": _open(item)[0], "tries": 0, "next_try": tx.wall_ms}
    tx.execute(_update(item).values(**waits))
    return _answer(item, row, "is taken back", row.status)


def _find(tx: Transaction, item: StuckItem) -> Row[Any] | None:
    """Read the row and lock it, so that nobody tries the event before this transaction ends."""
    table = outbox if item.outbox else inbox
    row = select(table).where(table.c.event_id == item.number)
    return tx.execute(row.with_for_update()).first()


def _update(item: StuckItem) -> Update:
    table = outbox if item.outbox else inbox
    return update(table).where(table.c.event_id == item.number)


def _open(item: StuckItem) -> tuple[int, ...]:
    return (UNSENT, SENT) if item.outbox else (WAITING,)


def _dead(item: StuckItem) -> int:
    return GIVEN_UP if item.outbox else DEAD


def _answer(item: StuckItem, row: Row[Any] | None, done: str, *statuses: int) -> Result[None]:
    """Return a success if the row had one of these statuses, and else why nothing can be done.

    A person who asks again gets the same answer.
    """
    if row is not None and row.status in statuses:
        return Result[None].ok(message=f"event {item.number} {done}")
    is_over = row is not None and (item.outbox or row.status == DONE)
    text = "is done already" if is_over else "is not here"
    return Result[None].refused(RuntimeCode.BAD_REQUEST, f"event {item.number} {text}")
