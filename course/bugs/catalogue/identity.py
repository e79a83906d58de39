"""Bugs of ids that are made twice, and of what meets one."""

from functools import cache
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from course.bugs.bug import bug
from labkit.runtime.db.compiled import CompiledStatement
from labkit.runtime.db.statements import Key
from labkit.runtime.db.tables import inbox
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.registry.leases import ReservingLease

ids_repeat = bug(
    "ids-repeat",
    "Whoever takes a worker number sees that its past is over, and needs to know no more of it.",
    "clock-back-at-birth",
    breaks="makes ids of a time that it had used",
)


@ids_repeat.replaces("labkit.runtime.registry.leases:ReservingLease.reserve")
def _(self: ReservingLease, until_ms: int) -> int:
    reserved = until_ms + self._reserve_ms
    self._time.write_ms(reserved)
    return reserved


insert_once_without_target = bug(
    "insert-once-without-target",
    "If the row is refused, it is there already.",
    "refund-id-taken",
    breaks="a payment is accepted or goes back",
)


@insert_once_without_target.replaces("labkit.runtime.db.statements:insertion")
@cache
def _(table: Table, columns: tuple[str, ...], dialect: Dialect, once: Key) -> CompiledStatement:
    core: Any = sqlite.insert(table).on_conflict_do_nothing() if once else table.insert()
    return CompiledStatement(core.compile(dialect=dialect, column_keys=list(columns)), dialect, "")


audit_without_hash = bug(
    "audit-without-hash",
    "A group that has a row under the id has the event.",
    "another-message",
    breaks="goods had another one under its id",
)


@audit_without_hash.replaces("labkit.runtime.messaging.inbox:find_missing")
def _(tx: Transaction, query: MissingQuery) -> Missing:
    handled = (inbox.c.group_name == query.group) & inbox.c.event_id.in_(query.fingerprints)
    kept = set(tx.execute(select(inbox.c.event_id).where(handled)).scalars())
    return Missing(
        lost=tuple(fingerprint for fingerprint in query.fingerprints if fingerprint not in kept)
    )
