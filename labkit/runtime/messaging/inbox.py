"""The inbox: every event is handled once, however often and in whatever order it comes.

The inbox row is written in the transaction of the event's handler. A record that raises is rolled
back and stored as waiting; it is tried again on a growing delay, and after a limit it is dead:
seen by people, told to the dead-letter topic, and driven by hand.
"""

import hashlib
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator
from sqlalchemy import select, update

from labkit.results import Message
from labkit.runtime.backoff import Backoff
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import DEAD, DONE, WAITING, inbox
from labkit.runtime.db.texts import shorten
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event, Step, step

_BATCH = 100
_BY_HAND = "given up by hand"
_IDENTITY = select(inbox.c.event_id, inbox.c.topic, inbox.c.tag, inbox.c.msg_key, inbox.c.body_hash)
#: A cause in a message: of whatever length it was, it is short from here on.
_Cause = Annotated[str, AfterValidator(shorten)]


@statement
def _kept(group: str, event_id: int) -> Any:
    return select(inbox).where(inbox.c.group_name == group, inbox.c.event_id == event_id)


@statement
def _undone(event_id: int) -> Any:
    return select(inbox).where(inbox.c.event_id == event_id, inbox.c.status != DONE)


@statement
def _due(now_ms: int) -> Any:
    due = (inbox.c.status == WAITING) & (inbox.c.next_try <= now_ms)
    return select(inbox).where(due).order_by(inbox.c.next_try).limit(_BATCH)


class Delivery(Message):
    """One event as the broker handed it to one consumer group.

    Attributes:
        tries: that its row had when it was read; None where it comes from the broker.
    """

    group: str
    event_id: int
    topic: str
    tag: str
    key: str
    body: str
    trace: str = ""
    tries: int | None = None


class Failure(Message):
    """A delivery whose handler raised, and why.

    Attributes:
        delivery: the event.
        error: the cause.
        held: whether a row that it needs was held by another transaction, which burns no try.
    """

    delivery: Delivery
    error: _Cause
    held: bool = False


class MissingQuery(Message):
    """The audit's question: which of these messages does a group not have?

    Attributes:
        group: which is asked.
        fingerprints: event id → `fingerprint` of the message that was sent under it.
    """

    group: str
    fingerprints: dict[int, str]


class Missing(Message):
    """The answer to the audit.

    Attributes:
        lost: ids that the group has no row for: it never had them, or has not read them yet.
        foreign: ids under which it has another message: somebody made an id that was in use.
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


def guarded(handler: Step[Any, None], event_type: type[Event]) -> Step[Any, None]:
    """Put the inbox around an event handler: the row and the change commit together.

    Args:
        handler: a step whose command is the event.
        event_type: what the body is read as.

    Returns:
        A step of the same name whose command is a `Delivery`.
    """

    def handle(tx: Transaction, delivery: Delivery) -> None:
        if _first_time(tx, delivery):
            handler.function(tx, event_type.model_validate_json(delivery.body))

    return Step(handle, handler.name)


def retried(
    handler: Step[Any, None], event_type: type[Event], *, by_hand: bool = False
) -> Step[Any, None]:
    """The same for a row that waits; a dead one is driven by hand alone."""
    statuses = (WAITING, DEAD) if by_hand else (WAITING,)

    def handle(tx: Transaction, delivery: Delivery) -> None:
        done = {"status": DONE, "done_time": tx.now, "last_error": None}
        row = _row(delivery) & inbox.c.status.in_(statuses)
        if tx.execute(update(inbox).where(row).values(**done)).rowcount:
            handler.function(tx, event_type.model_validate_json(delivery.body))

    return Step(handle, handler.name)


@step()
def keep_failure(tx: Transaction, failure: Failure) -> None:
    """Keep a delivery that raised, in a transaction of its own, with its cause and next try.

    The row keeps the message that came first: another one under its id is told as a dead letter,
    and neither touches the row nor burns its tries. Instances that try a row at the same time burn
    one try together.
    """
    settings, delivery = tx.settings, failure.delivery
    tx.insert_once(inbox, **_values(tx, delivery), status=WAITING, tries=0, next_try=0)
    row = tx.run(_kept(delivery.group, delivery.event_id)).single()
    if not _is_same(row, delivery):
        tx.emit(dead_letter(failure))
    elif row.status == DEAD:  # it is given up already: only the cause may be new
        by_hand = (row.last_error or "").startswith(_BY_HAND)  # a try was on its way just then
        error = given_up(failure.error) if by_hand else failure.error
        tx.execute(update(inbox).where(_row(delivery)).values(last_error=error))
    elif row.status == WAITING and delivery.tries in (None, row.tries):  # else another instance
        tries = row.tries + (not failure.held)
        dead = tries >= settings.retry_limit and not failure.held
        backoff = Backoff.doubling(settings.retry_first, settings.retry_max, jitter=0.5)
        next_try = tx.wall_ms + backoff.delay_ms(max(tries - 1, 0))
        values = {"tries": tries, "next_try": next_try, "last_error": failure.error}
        status = DEAD if dead else WAITING
        waits = _row(delivery) & (inbox.c.status == WAITING)
        kept = tx.execute(update(inbox).where(waits).values(**values, status=status)).rowcount
        if dead and kept:
            tx.emit(dead_letter(failure))


@step(reads=True)
def find_due(tx: Transaction, _command: None) -> list[Delivery]:
    """Waiting rows whose time has come, the most overdue first, so that none starves."""
    return [delivery_of(row) for row in tx.run(_due(tx.wall_ms)).rows]


@step(reads=True)
def find_delivery(tx: Transaction, event_id: int) -> Delivery | None:
    """The kept delivery of one event that is not done, for driving it by hand."""
    row = tx.first(_undone(event_id))
    return delivery_of(row) if row else None


@step(reads=True)
def find_missing(tx: Transaction, query: MissingQuery) -> Missing:
    """Find the events that a group has no row for, in any state, or a row of another message."""
    wanted = query.fingerprints
    known = (inbox.c.group_name == query.group) & inbox.c.event_id.in_(wanted)
    kept = {row.event_id: _fingerprint_of(row) for row in tx.execute(_IDENTITY.where(known))}
    return Missing(
        lost=tuple(event_id for event_id in wanted if event_id not in kept),
        foreign=tuple(event_id for event_id, has in kept.items() if has != wanted[event_id]),
    )


def fingerprint(topic: str, tag: str, key: str, body: str) -> str:
    """Return what two messages have in common only if they say the same."""
    return _fingerprint(topic, tag, key, _hash(body))


def _first_time(tx: Transaction, delivery: Delivery) -> bool:
    values = _values(tx, delivery)
    if tx.insert_once(inbox, **values, status=DONE, tries=1, next_try=0, done_time=tx.now):
        return True
    row = tx.run(_kept(delivery.group, delivery.event_id)).single()
    if not _is_same(row, delivery):
        other = "with another body" if row.body_hash != _hash(delivery.body) else f"as {row.topic}"
        raise BodyChanged(f"event {delivery.event_id} came before {other}")
    return False


def _values(tx: Transaction, delivery: Delivery) -> dict[str, Any]:
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


def _is_same(row: Any, delivery: Delivery) -> bool:
    """Return True if a row is of this message, and not of another one under its id."""
    told = fingerprint(delivery.topic, delivery.tag, delivery.key, delivery.body)
    return _fingerprint_of(row) == told


def _fingerprint_of(row: Any) -> str:
    return _fingerprint(row.topic, row.tag, row.msg_key, row.body_hash)


def _fingerprint(*parts: str) -> str:
    return _hash("\n".join(parts))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def given_up(cause: str | None) -> str:
    """The cause of what a person gives up: that, and what had stood against it."""
    cause = (cause or "").removeprefix(f"{_BY_HAND}: ")
    return f"{_BY_HAND}: {cause}" if cause not in ("", _BY_HAND) else _BY_HAND


def dead_letter(failure: Failure) -> DeadLetter:
    """What tells of a delivery that is given up."""
    kept = failure.delivery
    return DeadLetter(
        order_id=int(kept.key) if kept.key.isdecimal() else 0,
        group=kept.group,
        event_id=kept.event_id,
        source=kept.topic,
        body=kept.body,
        error=failure.error,
    )


def _row(delivery: Delivery) -> Any:
    return (inbox.c.group_name == delivery.group) & (inbox.c.event_id == delivery.event_id)


def delivery_of(row: Any) -> Delivery:
    """A kept row as the broker had handed it out."""
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
