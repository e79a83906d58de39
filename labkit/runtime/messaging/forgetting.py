"""Forgetting: settled messages go from outbox and inbox, and an inbox still knows a repetition.

A sender forgets first: an event that every group has, for as long as the setting says. A group
forgets an event when no outbox has it any more. From then on its inbox cannot tell a repetition
from a new event by its rows; but no new event is older than what it has forgotten, unless a clock
is wrong. So it handles at once what is newer than anything that went, and asks the senders about
the rest: an event that no outbox holds was handled, and goes for a repetition. RIFL (Lee and
others, 2015) collects its completion records likewise, by the word of whoever might ask again.

No clock decides what is done: a wrong one makes a question more, or has something stay.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import ColumnElement, Executable, Table, bindparam, delete, select, true, update

from labkit.results import Message
from labkit.runtime.db.compiled import Row
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import DONE, INBOX, OUTBOX, SETTLED, forgotten, inbox, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step

_NO_ID = 1 << 63
#: How many events go in one transaction, at most.
BATCH = 200
_HELD = select(outbox.c.event_id)
_SENT = (
    select(outbox.c.event_id, outbox.c.body)
    .where(outbox.c.status == bindparam("status"))
    .with_for_update(skip_locked=True)
)
_HANDLED = (
    select(inbox.c.event_id, inbox.c.body)
    .where(inbox.c.group_name == bindparam("group"), inbox.c.status == bindparam("status"))
    .with_for_update()
)


@statement
def _noted(part: str) -> Executable:
    # locked, so that nothing is forgotten between this look and the commit
    return select(forgotten).where(forgotten.c.part == part).with_for_update(read=True)


@statement
def _to_be_noted(part: str) -> Executable:
    return select(forgotten).where(forgotten.c.part == part).with_for_update()


@statement
def _settled(kept: str, before_ms: int) -> Executable:
    # the time of its audit, by the wall clock, is about when it was settled; an index finds it
    old = (outbox.c.status == SETTLED) & (outbox.c.next_try < before_ms)
    rows = select(outbox.c.event_id).where(old, outbox.c.topic != kept)
    return rows.order_by(outbox.c.next_try).limit(BATCH)


@statement
def _done(group: str, after: int, before: int) -> Executable:
    ids = (inbox.c.event_id > after) & (inbox.c.event_id < before)
    done = (inbox.c.group_name == group) & ids & (inbox.c.status == DONE)
    rows = select(inbox.c.event_id, inbox.c.topic).where(done)
    return rows.order_by(inbox.c.event_id).limit(BATCH)


class SettledBefore(NamedTuple):
    """Settled events, as a sender forgets them.

    Attributes:
        before_ms: they were settled before then, by the wall clock.
        kept: the topic whose events are kept.
    """

    before_ms: int
    kept: str


class DoneBetween(NamedTuple):
    """Events that a group has handled, by their ids.

    Attributes:
        group: the group.
        after: their ids are higher.
        before: and lower than this.
    """

    group: str
    after: int
    before: int


class Told(NamedTuple):
    """An event, and the topic that tells who may have sent it."""

    event_id: int
    topic: str


class Gone(NamedTuple):
    """Events of a group that no outbox holds any more."""

    group: str
    event_ids: Sequence[int]


class HeldQuery(Message):
    """The question which of these events an outbox holds."""

    event_ids: tuple[int, ...]


class Held(Message):
    """The events that an outbox holds, whatever has become of them."""

    event_ids: tuple[int, ...] = ()


class MaybeForgotten(Exception):
    """An event without a row is no newer than some that the inbox has forgotten.

    Attributes:
        event_id: the event.
        rounds: how often the inbox had forgotten something at that moment.
    """

    def __init__(self, event_id: int, rounds: int) -> None:
        super().__init__(f"event {event_id} is new here, or was forgotten: its sender knows")
        self.event_id = event_id
        self.rounds = rounds


def expect_new(tx: Transaction, event_id: int, confirmed: int | None) -> None:
    """Prove that an event which has no row in the inbox was never handled.

    Args:
        tx: the transaction that has just inserted its row.
        event_id: the event.
        confirmed: the `rounds` at which the doubt arose that its sender has cleared since. If
            something was forgotten after it, this event may have been handled and forgotten, too.

    Raises:
        MaybeForgotten: only its sender knows.
    """
    row = tx.peek(_noted(INBOX)).single()
    if event_id <= row.last_event and confirmed != row.rounds:
        tx.run(_noted(INBOX))  # after all that was deferred: perhaps its row is there after all
        raise MaybeForgotten(event_id, row.rounds)


@step(reads=True)
def find_settled(tx: Transaction, query: SettledBefore) -> list[int]:
    """Find the events that a sender may forget, some at a time."""
    return tx.run(_settled(query.kept, query.before_ms)).column()


@step()
def forget_settled(tx: Transaction, event_ids: Sequence[int]) -> int:
    """Delete events from the outbox, if they are settled, and return how many were."""
    noted = tx.run(_to_be_noted(OUTBOX)).single()
    rows = tx.among(_SENT, outbox.c.event_id, event_ids, status=SETTLED)
    return _forget(tx, outbox, true(), noted, rows)


@step()
def forget_handled(tx: Transaction, gone: Gone) -> int:
    """Delete events from the inbox that no outbox holds, if they are done; return how many were."""
    noted = tx.run(_to_be_noted(INBOX)).single()
    rows = tx.among(_HANDLED, inbox.c.event_id, gone.event_ids, group=gone.group, status=DONE)
    return _forget(tx, inbox, inbox.c.group_name == gone.group, noted, rows)


@step(reads=True)
def find_done(tx: Transaction, query: DoneBetween) -> list[Told]:
    """Find the events that a group has handled within some ids, some at a time."""
    rows = tx.run(_done(query.group, query.after, query.before)).rows
    return [Told(row.event_id, row.topic) for row in rows]


@step(reads=True)
def find_held(tx: Transaction, query: HeldQuery) -> Held:
    """Find the events that the outbox holds."""
    rows = tx.among(_HELD, outbox.c.event_id, query.event_ids)
    return Held(event_ids=tuple(row.event_id for row in rows))


def _forget(
    tx: Transaction, table: Table, part_of_key: ColumnElement[bool], noted: Row, rows: Sequence[Row]
) -> int:
    if not rows:
        return 0
    ids = [row.event_id for row in rows]
    tx.execute(delete(table).where(part_of_key, table.c.event_id.in_(ids)))
    values = {
        "last_event": max(noted.last_event, *ids),
        "horizon": max(noted.horizon, *ids, *_ids_in(row.body for row in rows)),
        "rounds": noted.rounds + 1,
        "messages": noted.messages + len(ids),
    }
    tx.execute(update(forgotten).where(forgotten.c.part == noted.part).values(**values))
    return len(ids)


def _ids_in(bodies: Iterable[str]) -> list[int]:
    """Return the numbers in bodies: ids, and amounts, which are far lower than any id."""
    numbers: list[int] = []
    for body in bodies:
        with suppress(ValueError):  # no JSON: a fault had put it there, and a person took it away
            message = json.loads(body)
            values = message.values() if isinstance(message, dict) else ()
            numbers += [value for value in values if isinstance(value, int) and value < _NO_ID]
    return numbers
