"""Draining before a way back: what a later release has told others, an earlier one may not know.

An event of a later version waits in the inbox of an older consumer (`labkit.runtime.evolution`), so
that it must be handled before its consumer goes back.
"""

from sqlalchemy import func, select

from labkit.home import Home
from labkit.ops.reader import Reader
from labkit.runtime.db.tables import OUTBOX, SETTLED, WAITING, forgotten, inbox, outbox
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.waiting import poll_until

_TAKEN_S, _AGAIN_S = 60.0, 0.1


def newest_event(home: Home, service: str) -> int:
    """Return the id of the last event that a service has told; 0 if it has told none."""
    there = select(func.max(outbox.c.event_id).label("newest"))
    went = select(forgotten.c.last_event.label("newest")).where(forgotten.c.part == OUTBOX)
    reader = Reader(home)
    try:
        rows = [row for query in (there, went) for row in reader.query(service, query)]
        return max(row["newest"] or 0 for row in rows)
    finally:
        reader.close()


def await_taken(home: Home, service: str, newest: int) -> None:
    """Wait until everybody has handled the events of a service, up to one.

    Args:
        home: where the lab lives.
        service: whose events.
        newest: the id of the last of them.

    Raises:
        RuntimeError: some are not, for long; says how many.
    """
    reader = Reader(home)
    left = 0

    def are_taken() -> bool:
        nonlocal left
        left = _count(reader, service, newest)
        return not left

    try:
        if not poll_until(are_taken, _TAKEN_S, _AGAIN_S):
            raise RuntimeError(
                f"{left} events of {service} are not handled yet, and an earlier release may not "
                "understand them: labkit stuck names them; then run the same upgrade again"
            )
    finally:
        reader.close()


def _count(reader: Reader, service: str, newest: int) -> int:
    """Count the events that are not handled: in the outbox, and in the inboxes of others."""
    topics = SERVICES[service].topics()
    told = (outbox.c.event_id <= newest) & (outbox.c.status < SETTLED)
    waiting = (inbox.c.event_id <= newest) & (inbox.c.status == WAITING)
    waiting &= inbox.c.topic.in_(topics)
    number = func.count().label("number")
    counts = [reader.query(service, select(number).where(told))]
    for group in {group for topic in topics for group in GROUPS.get(topic, ())}:
        counts.append(reader.query(group, select(number).where(waiting)))
    return sum(int(row["number"]) for [row] in counts)
