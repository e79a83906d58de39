"""Dead letters (死信): what a person gives up, and takes back, in the outbox or inbox of a service.

A dead letter is a row that stays where it is and that nobody tries: with its body, its cause and
its place in every count. So taking it back loses nothing, and does nothing twice: the inbox row
still decides whether its handler has run.
"""

from typing import Any

from sqlalchemy import select, update

from labkit.results import Message, Result
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.tables import DEAD, DONE, GIVEN_UP, SENT, UNSENT, WAITING, inbox, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import inbox as letterbox
from labkit.runtime.steps import step


class StuckItem(Message):
    """Something stuck, for a person to drive.

    Attributes:
        number: of the event, or of what the service has of its own (a payment, a refund).
        outbox: whether the event is stuck on its way out, and not in the inbox.
    """

    number: int
    outbox: bool = False


@step()
def give_up(tx: Transaction, thing: StuckItem) -> Result[None]:
    """Make an event a dead letter, with its cause; who gives it up again changes nothing."""
    row = _find(tx, thing)
    if row is None or row.status not in _open(thing):
        return _told(thing, row, _dead(thing), "is given up")
    error = letterbox.given_up(row.last_error)
    tx.execute(_update(thing).values(status=_dead(thing), last_error=error))
    if not thing.outbox:
        kept = letterbox.Failure(delivery=letterbox.delivery_of(row), error=error)
        tx.emit(letterbox.dead_letter(kept))
    return _told(thing, row, row.status, "is given up")


@step()
def take_back(tx: Transaction, thing: StuckItem) -> Result[None]:
    """Make a dead letter wait again, due now and with all its tries before it."""
    row = _find(tx, thing)
    if row is None or row.status != _dead(thing):
        return _told(thing, row, *_open(thing), "is taken back")
    waits = {"status": _open(thing)[0], "tries": 0, "next_try": tx.wall_ms}
    tx.execute(_update(thing).values(**waits))
    return _told(thing, row, row.status, "is taken back")


def _find(tx: Transaction, thing: StuckItem) -> Any:
    """The row as it is until this transaction ends: with row locks nobody tries it meanwhile."""
    table = outbox if thing.outbox else inbox
    found = select(table).where(table.c.event_id == thing.number)
    return tx.execute(found.with_for_update()).first()


def _update(thing: StuckItem) -> Any:
    table = outbox if thing.outbox else inbox
    return update(table).where(table.c.event_id == thing.number)


def _open(thing: StuckItem) -> tuple[int, ...]:
    return (UNSENT, SENT) if thing.outbox else (WAITING,)


def _dead(thing: StuckItem) -> int:
    return GIVEN_UP if thing.outbox else DEAD


def _told(thing: StuckItem, row: Any, *fits: Any) -> Result[None]:
    """What a person is told: the same for who asks again, and why where it cannot be."""
    *statuses, done = fits
    if row is not None and row.status in statuses:
        return Result[None].ok(message=f"event {thing.number} {done}")
    over = row is not None and (thing.outbox or row.status == DONE)
    text = "is done already" if over else "is not here"
    return Result[None].refused(RuntimeCode.BAD_REQUEST, f"event {thing.number} {text}")
