"""The transactional outbox: an event leaves with the transaction that emits it, or not at all.

A row is written in the business transaction and stays until every consumer group that must have
the event says that it has an inbox row for it. The broker in between may lose, repeat and reorder
as it likes: the guarantee is end to end (Saltzer, Reed and Clark, 1984), from database to database.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Row, Update, case, select, update

from labkit.results import Message
from labkit.runtime import evolution
from labkit.runtime.backoff import Backoff
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import GIVEN_UP, SENT, SETTLED, UNSENT, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event, step
from labkit.settings import Settings

_BATCH = 100
_MAX_POSTPONED_S = 60.0  # far more than `postpone` is ever asked for
_MISSING = "lost by the broker, or not read yet"
_FOREIGN = (
    "another message has this id in {groups}: the id was made twice; what this one says is not "
    "done there, and has to be done by hand"
)
#: In units of the delay of the first try.
_POSTPONED = Backoff(tuple(range(1, 11)), exact=10)
#: In units of the audit's delay: what is sent again in vain, again and again, is sent more seldom.
_AUDITS = Backoff((*range(1, 11), 20, 40, 60), jitter=0.5, exact=10)
#: topic → the consumer groups that must have its events.
Groups = Mapping[str, tuple[str, ...]]
_ROW = select(
    outbox.c.event_id,
    outbox.c.topic,
    outbox.c.tag,
    outbox.c.msg_key,
    outbox.c.body,
    outbox.c.groups,
    outbox.c.trace,
    outbox.c.tries,
)
#: Rows that nobody holds.
_FREE = select(outbox.c.event_id).with_for_update(skip_locked=True)
#: A group lacked it, and may lack it still: only the next audit knows.
_LACKED = outbox.c.last_error.endswith(_MISSING)


@statement
def _next_tries() -> Executable:
    """Each of the two is the first entry of an index, however many wait."""
    times = select(outbox.c.next_try).order_by(outbox.c.next_try).limit(1)
    return select(
        *(
            times.where(outbox.c.status == status).scalar_subquery().label(name)
            for name, status in {"unsent": UNSENT, "sent": SENT}.items()
        )
    )


@statement
def _sent(event_id: int, now: datetime, now_ms: int, delay_ms: int, random_ms: int) -> Executable:
    error = case((_LACKED, outbox.c.last_error), else_=None)
    values = {"status": SENT, "sent_time": now, "last_error": error}
    delay = _AUDITS.in_sql(outbox.c.tries, delay_ms, random_ms)
    return _update(event_id, UNSENT).values(**values, next_try=now_ms + delay)


@statement
def _claimable(status: int, now_ms: int) -> Executable:
    due = (outbox.c.status == status) & (outbox.c.next_try <= now_ms)
    wanted = _ROW.where(due).order_by(outbox.c.next_try).limit(_BATCH)
    # with row locks another instance may be claiming at this moment: those rows are its own
    return wanted.with_for_update(skip_locked=True)


@statement
def _leased(event_id: int, status: int, until_ms: int) -> Executable:
    return _update(event_id, status).values(next_try=until_ms)


@statement
def _settled(event_id: int, audited: str, now: datetime) -> Executable:
    asked_all = _update(event_id, SENT).where(outbox.c.groups == audited)
    return asked_all.values(status=SETTLED, settled_time=now, last_error=None)


def _update(event_id: int, old: int) -> Update:
    return update(outbox).where(outbox.c.event_id == event_id, outbox.c.status == old)


@dataclass(frozen=True)
class OutboxMessage:
    """One event on its way: what the broker carries, and who must have it."""

    event_id: int
    topic: str
    tag: str
    key: str
    body: str
    groups: tuple[str, ...] = ()
    trace: str = ""
    tries: int = 0


class Postpone(Message):
    """Events that could not be sent or settled now, and why; they are tried again."""

    event_ids: tuple[int, ...]
    status: int
    error: str
    delay: float


class MissingFrom(Message):
    """Events that some groups do not have, though the broker had acknowledged them.

    Attributes:
        event_ids: the events.
        groups: that have no inbox row for them.
        foreign: groups that have another message under their ids.
    """

    event_ids: tuple[int, ...]
    groups: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def longest_delay_s(settings: Settings) -> float:
    """Return the longest time by which a row's next try is postponed."""
    return max(settings.audit_delay * _AUDITS.longest, settings.outbox_lease, _MAX_POSTPONED_S)


def event_writer(groups: Groups) -> Callable[[Transaction], None]:
    """Make the function that writes a transaction's events to its outbox.

    Args:
        groups: who must have its events.
    """

    def write(tx: Transaction) -> None:
        lease = tx.wall_ms + int(tx.settings.outbox_lease * 1000)
        for event_id, event in tx.emitted:
            tx.insert(
                outbox,
                event_id=event_id,
                topic=event.topic,
                tag=event.tag,
                msg_key=str(event.order_id),
                body=evolution.write(event),
                groups=",".join(groups[event.topic]),
                status=UNSENT,
                tries=0,
                next_try=lease,
                add_time=tx.now,
                trace=tx.trace or None,
            )

    return write


def message_of(
    event_id: int, event: Event, groups: tuple[str, ...], trace: str = ""
) -> OutboxMessage:
    """Return the message of an event that was just committed, without reading it back."""
    return OutboxMessage(
        event_id,
        event.topic,
        event.tag,
        str(event.order_id),
        evolution.write(event),
        groups,
        trace,
    )


@step(reads=True)
def find_next_try(tx: Transaction, _command: None) -> int | None:
    """Return when there is something to claim, in milliseconds of the wall clock; None if never.

    Looking costs less than claiming nothing.
    """
    times = tx.run(_next_tries()).single()
    return min((time for time in (times.unsent, times.sent) if time is not None), default=None)


@step()
def claim_unsent(tx: Transaction, _command: None) -> list[OutboxMessage]:
    """Take over unsent rows whose lease is over: their process died, or sending failed."""
    return _claim(tx, UNSENT)


@step()
def claim_unsettled(tx: Transaction, _command: None) -> list[OutboxMessage]:
    """Take sent rows that are due for an audit."""
    return _claim(tx, SENT)


@step()
def mark_sent(tx: Transaction, event_ids: list[int]) -> None:
    """Mark messages that the broker acknowledged; the audit follows, each time a little later."""
    delay_ms = int(tx.settings.audit_delay * 1000)
    for event_id in event_ids:
        random_ms = int(delay_ms * _AUDITS.draw())
        tx.expect_update(_sent(event_id, tx.now, tx.wall_ms, delay_ms, random_ms))


@step()
def mark_settled(tx: Transaction, audited: list[OutboxMessage]) -> None:
    """Settle events: every group that must have them has an inbox row for them.

    An event that was addressed to another group since its groups were asked stays as it is.
    """
    free = set(_not_held(tx, [message.event_id for message in audited]))
    for message in audited:
        if message.event_id in free:
            tx.expect_update(_settled(message.event_id, ",".join(message.groups), tx.now))


@step()
def mark_missing(tx: Transaction, missing: MissingFrom) -> None:
    """Make events due now that a group lacks though the broker had acknowledged them.

    The row counts from the first time how often that was in vain: other trouble postpones no audit.
    If each of the groups has another message under the id, sending again is of no use: only a
    person can do what the message says, so it is given up with that cause.
    """
    if not missing.groups:
        error = _FOREIGN.format(groups=", ".join(missing.foreign))
        _move(tx, missing.event_ids, SENT, status=GIVEN_UP, last_error=error)
        return
    tries = case((_LACKED, outbox.c.tries + 1), else_=1)
    again = {"status": UNSENT, "next_try": tx.wall_ms, "tries": tries}
    error = f"not in {', '.join(missing.groups)}: {_MISSING}"
    _move(tx, missing.event_ids, SENT, **again, last_error=error)


@step()
def postpone(tx: Transaction, command: Postpone) -> None:
    """Postpone events that could not be sent or audited, and keep the cause for people to see."""
    unit_ms = int(command.delay * 1000)
    later = tx.wall_ms + _POSTPONED.in_sql(outbox.c.tries, unit_ms, unit_ms)
    _move(
        tx,
        command.event_ids,
        command.status,
        tries=outbox.c.tries + 1,
        next_try=later,
        last_error=command.error,
    )


@step()
def hurry(tx: Transaction, event_id: int) -> bool:
    """Make an event due now; return False if it is settled, or not in this outbox."""
    waits = (outbox.c.event_id == event_id) & (outbox.c.status != SETTLED)
    status = case((outbox.c.status == GIVEN_UP, UNSENT), else_=outbox.c.status)
    due_now = update(outbox).where(waits).values(next_try=tx.wall_ms, status=status)
    return bool(tx.execute(due_now).rowcount)


def _claim(tx: Transaction, status: int) -> list[OutboxMessage]:
    rows = tx.run(_claimable(status, tx.wall_ms)).rows
    until = tx.wall_ms + int(tx.settings.outbox_lease * 1000)
    for row in rows:
        tx.expect_update(_leased(row.event_id, status, until))
    return [_message(row) for row in rows]


def _move(tx: Transaction, event_ids: tuple[int, ...], old: int, **values: object) -> None:
    movable = outbox.c.event_id.in_(_not_held(tx, event_ids)) & (outbox.c.status == old)
    tx.execute(update(outbox).where(movable).values(**values))


def _not_held(tx: Transaction, event_ids: Iterable[int]) -> list[int]:
    """Return the events whose rows nobody holds.

    The others are claimed again when their lease is over.
    """
    return [row.event_id for row in tx.among(_FREE, outbox.c.event_id, event_ids)]


def _message(row: Row[Any]) -> OutboxMessage:
    groups = tuple(group for group in row.groups.split(",") if group)
    return OutboxMessage(
        row.event_id,
        row.topic,
        row.tag,
        row.msg_key,
        row.body,
        groups,
        row.trace or "",
        row.tries,
    )
