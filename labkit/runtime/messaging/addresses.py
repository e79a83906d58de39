"""Addresses: an event in the outbox is addressed to the consumer groups that must have it."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Executable, or_, select, update

from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import GIVEN_UP, SENT, SETTLED, UNSENT, outbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.deadlines import Deadline, make_due
from labkit.runtime.messaging.outbox import Groups
from labkit.runtime.steps import step

#: Not `!=`, so that an index finds them.
_OPEN = or_(*(outbox.c.status == status for status in (UNSENT, SENT, GIVEN_UP)))
_KINDS = select(outbox.c.topic, outbox.c.groups).distinct()


@statement
def _open_kinds() -> Executable:
    return _KINDS.where(_OPEN)


@statement
def _kinds_since(since: int) -> Executable:
    return _KINDS.where(outbox.c.event_id >= since)


@dataclass(frozen=True)
class Subscriptions:
    """The groups that must have each topic's events, as one release of a service knows them.

    Attributes:
        groups: topic → consumer groups.
        since: the lowest id of events that are looked at though they are settled.
        deadlines: what is tried again in this database; none where only groups are added.
    """

    groups: Groups
    since: int
    deadlines: tuple[Deadline, ...] = ()


@step(reads=True)
def lacks_addresses(tx: Transaction, subscriptions: Subscriptions) -> bool:
    """Return True if a group was wired that an event is not addressed to."""
    return any(True for _ in _addresses(tx, subscriptions))


@step()
def readdress(tx: Transaction, subscriptions: Subscriptions) -> None:
    """Address events to the groups that were wired since they were written, too.

    That is what is not settled, and what was written and settled just now: an instance of an
    earlier release beside this one settles without asking a group that it does not know. A group
    that is wired no more keeps what was addressed to it: a start with the wrong wiring must not
    lose anything.

    At its start a service also makes due what a clock that was ahead has put off for too long.
    """
    make_due(tx, subscriptions.deadlines)
    reopened = {"status": SENT, "settled_time": None, "next_try": tx.wall_ms}
    for events, groups in _addresses(tx, subscriptions):
        tx.execute(update(outbox).where(events, _OPEN).values(groups=groups))
        settled = update(outbox).where(events, outbox.c.status == SETTLED)
        tx.execute(settled.values(groups=groups, **reopened))


def _addresses(
    tx: Transaction, subscriptions: Subscriptions
) -> Iterator[tuple[ColumnElement[bool], str]]:
    """Yield the events that are not addressed to all groups of their topic, and those groups."""
    since = subscriptions.since
    for kinds in (_open_kinds(), _kinds_since(since)):
        for row in tx.run(kinds).rows:
            topic, written = row.topic, row.groups
            present = [group for group in written.split(",") if group]
            wired = subscriptions.groups.get(topic, ())
            added = [group for group in wired if group not in present]
            if added:
                events = _OPEN | (outbox.c.event_id >= since)
                alike = (outbox.c.topic == topic) & (outbox.c.groups == written)
                yield events & alike, ",".join(present + added)
