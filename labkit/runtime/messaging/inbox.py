"""The inbox: every event is handled once, however often and in whatever order it comes.

The inbox row is written in the transaction of the event's handler. If the handler raises, that is
rolled back and the event stored as waiting. It is tried again after growing delays, and after a
limit it is dead: sent to the dead-letter topic, and driven by hand alone.
"""

import hashlib
from typing import Annotated, ClassVar

from pydantic import AfterValidator
from sqlalchemy import ColumnElement, Executable, bindparam, select, update

from labkit.results import Message
from labkit.runtime.backoff import Backoff
from labkit.runtime.db.compiled import Row
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import DEAD, DONE, WAITING, inbox
from labkit.runtime.db.texts import shorten
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.evolution import Upcasts, known, read
from labkit.runtime.messaging.forgetting import expect_new
from labkit.runtime.steps import Event, EventHandler, Step, step

_BY_HAND = "given up by hand"
_IDENTITY = select(
    inbox.c.event_id, inbox.c.topic, inbox.c.tag, inbox.c.msg_key, inbox.c.body_hash
).where(inbox.c.group_name == bindparam("group"))
#: A cause in a message: whatever its length was, it is short from here on.
_Cause = Annotated[str, AfterValidator(shorten)]


@statement
def _kept(group: str, event_id: int) -> Executable:
    return select(inbox).where(inbox.c.group_name == group, inbox.c.event_id == event_id)


@statement
def _undone(event_id: int) -> Executable:
    return select(inbox).where(inbox.c.event_id == event_id, inbox.c.status != DONE)


class Delivery(Message):
    """One event as the broker delivered it to one consumer group.

    Attributes:
        tries: of its row, when that was read; None where it comes from the broker.
        confirmed: the `rounds` of the doubt that its sender has cleared, if there was one.
    """

    group: str
    event_id: int
    topic: str
    tag: str
    key: str
    body: str
    trace: str = ""
    tries: int | None = None
    confirmed: int | None = None


DeliveryStep = Step[Delivery, None]


class Failure(Message):
    """A delivery whose handler raised, and why.

    Attributes:
        delivery: the event.
        error: the cause.
        held: whether a row that it needs was held by another transaction, which burns no try.
        early: whether it is of a later release than this one, which burns none either.
    """

    delivery: Delivery
    error: _Cause
    held: bool = False
    early: bool = False

    @property
    def is_blameless(self) -> bool:
        """Return True if the message itself is not to blame: it waits, however long."""
        return self.held or self.early


class MissingQuery(Message):
    """The audit's question: which of these messages does a group not have?

    Attributes:
        group: the group that is asked.
        fingerprints: event id → `fingerprint` of the message that was sent under it.
    """

    group: str
    fingerprints: dict[int, str]


class Missing(Message):
    """The answer to the audit.

    Attributes:
        lost: ids that the group has no row for: it never had them, or has not read them yet.
        foreign: ids under which it has another message: an id was made twice.
    """

    lost: tuple[int, ...] = ()
    foreign: tuple[int, ...] = ()


class DeadLetter(Event):
    """An event that a group gave up after its last try."""

    topic: ClassVar[str] = "dead_letter"
    tag: ClassVar[str] = "dead"

    group: str
    event_id: int
    source: str
    body: str
    error: _Cause


class BodyChanged(Exception):
    """An event id came again with another message: a producer's defect, kept out."""


def guarded(
    handler: EventHandler, event_type: type[Event], upcasts: Upcasts | None = None
) -> DeliveryStep:
    """Put the inbox around an event handler: the row and the change commit together.

    Args:
        handler: a step whose command is the event.
        event_type: what the body is read as.
        upcasts: bring older versions of it up to date.

    Returns:
        A step of the same name whose command is a `Delivery`.
    """

    def handle(tx: Transaction, delivery: Delivery) -> None:
        if _first_time(tx, delivery):
            handler.function(tx, known(read(event_type, delivery.body, upcasts)))

    return Step(handle, handler.name)


def retried(
    handler: EventHandler,
    event_type: type[Event],
    upcasts: Upcasts | None = None,
    *,
    by_hand: bool = False,
) -> DeliveryStep:
    """Put the inbox around the handler of a row that waits, or by hand also of a dead one."""
    statuses = (WAITING, DEAD) if by_hand else (WAITING,)

    def handle(tx: Transaction, delivery: Delivery) -> None:
        done = {"status": DONE, "done_time": tx.now, "last_error": None}
        row = _row(delivery) & inbox.c.status.in_(statuses)
        if tx.execute(update(inbox).where(row).values(**done)).rowcount:
            handler.function(tx, known(read(event_type, delivery.body, upcasts)))

    return Step(handle, handler.name)


@step()
def keep_failure(tx: Transaction, failure: Failure) -> None:
    """Keep a delivery that raised, in a transaction of its own, with its cause and next try.

    The row keeps the message that came first: another one under its id becomes a dead letter, and
    neither touches the row nor burns its tries. Instances that try a row at the same time burn one
    try together.

    Raises:
        MaybeForgotten: it has no row, and is perhaps a repetition.
    """
    delivery = failure.delivery
    if tx.insert_once(inbox, **_values(tx, delivery), status=WAITING, tries=0, next_try=0):
        expect_new(tx, delivery.event_id, delivery.confirmed)
    row = tx.run(_kept(delivery.group, delivery.event_id)).single()
    if not _is_same(row, delivery):
        tx.emit(dead_letter(failure))
    elif row.status == DEAD:  # it is given up already: only the cause may be new
        by_hand = (row.last_error or "").startswith(_BY_HAND)  # a try was on its way just then
        error = given_up(failure.error) if by_hand else failure.error
        tx.execute(update(inbox).where(_row(delivery)).values(last_error=error))
    elif row.status == WAITING and delivery.tries in (None, row.tries):  # else another instance
        _count_try(tx, failure, row.tries + (not failure.is_blameless))


def _count_try(tx: Transaction, failure: Failure, tries: int) -> None:
    """Note how often a row was tried, and when it is tried next; after the last try it is dead."""
    settings = tx.settings
    dead = tries >= settings.retry_limit and not failure.is_blameless
    backoff = Backoff.doubling(settings.retry_first, settings.retry_max, jitter=0.5)
    longest_ms = int(settings.retry_max * 1000)
    delay_ms = longest_ms if failure.early else backoff.delay_ms(max(tries - 1, 0))
    values = {
        "tries": tries,
        "next_try": tx.wall_ms + delay_ms,
        "last_error": failure.error,
        "status": DEAD if dead else WAITING,
    }
    waits = _row(failure.delivery) & (inbox.c.status == WAITING)
    if tx.execute(update(inbox).where(waits).values(values)).rowcount and dead:
        tx.emit(dead_letter(failure))


@step(reads=True)
def find_delivery(tx: Transaction, event_id: int) -> Delivery | None:
    """Find the kept delivery of one event that is not done, for driving it by hand."""
    row = tx.first(_undone(event_id))
    return delivery_of(row) if row else None


@step(reads=True)
def find_missing(tx: Transaction, query: MissingQuery) -> Missing:
    """Find the events that a group has no row for, in any state, or a row of another message."""
    wanted = query.fingerprints
    rows = tx.among(_IDENTITY, inbox.c.event_id, wanted, group=query.group)
    kept = {row.event_id: _fingerprint_of(row) for row in rows}
    return Missing(
        lost=tuple(event_id for event_id in wanted if event_id not in kept),
        foreign=tuple(event_id for event_id, has in kept.items() if has != wanted[event_id]),
    )


def fingerprint(topic: str, tag: str, key: str, body: str) -> str:
    """Return a hash that two messages have in common only if they say the same."""
    return _fingerprint(topic, tag, key, _hash(body))


def _first_time(tx: Transaction, delivery: Delivery) -> bool:
    values = _values(tx, delivery)
    if tx.insert_once(inbox, **values, status=DONE, tries=1, next_try=0, done_time=tx.now):
        expect_new(tx, delivery.event_id, delivery.confirmed)
        return True
    row = tx.run(_kept(delivery.group, delivery.event_id)).single()
    if not _is_same(row, delivery):
        other = "with another body" if row.body_hash != _hash(delivery.body) else f"as {row.topic}"
        raise BodyChanged(f"event {delivery.event_id} came before {other}")
    return False


def _values(tx: Transaction, delivery: Delivery) -> dict[str, object]:
    return {
        "group_name": delivery.group,
        "event_id": delivery.event_id,
        "topic": delivery.topic,
        "tag": delivery.tag,
        "msg_key": delivery.key,
        "body": delivery.body,
        "add_time": tx.now,
        "body_hash": _hash(delivery.body),
        "trace": delivery.trace or None,
    }


def _is_same(row: Row, delivery: Delivery) -> bool:
    """Return True if a row is of this message, and not of another one under its id."""
    delivered = fingerprint(delivery.topic, delivery.tag, delivery.key, delivery.body)
    return _fingerprint_of(row) == delivered


def _fingerprint_of(row: Row) -> str:
    return _fingerprint(row.topic, row.tag, row.msg_key, row.body_hash)


def _fingerprint(*parts: str) -> str:
    return _hash("\n".join(parts))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def given_up(cause: str | None) -> str:
    """Return the cause of an item that a person gives up, with the cause that it had before."""
    cause = (cause or "").removeprefix(f"{_BY_HAND}: ")
    return f"{_BY_HAND}: {cause}" if cause not in ("", _BY_HAND) else _BY_HAND


def dead_letter(failure: Failure) -> DeadLetter:
    """Return the event that reports a delivery which is given up."""
    kept = failure.delivery
    return DeadLetter(
        order_id=int(kept.key) if kept.key.isdecimal() else 0,
        group=kept.group,
        event_id=kept.event_id,
        source=kept.topic,
        body=kept.body,
        error=failure.error,
    )


def _row(delivery: Delivery) -> ColumnElement[bool]:
    return (inbox.c.group_name == delivery.group) & (inbox.c.event_id == delivery.event_id)


def delivery_of(row: Row) -> Delivery:
    """Return a kept row in the form in which the broker had delivered it."""
    return Delivery(
        group=row.group_name,
        event_id=row.event_id,
        topic=row.topic,
        tag=row.tag,
        key=row.msg_key,
        body=row.body,
        trace=row.trace or "",
        tries=row.tries,
    )
