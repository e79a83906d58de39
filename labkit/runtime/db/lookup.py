"""Lookups: steps that find one row by a key; one query finds the rows of a whole group.

A query by itself costs MySQL and its driver 0.27 ms of CPU, one of ten that go together 0.06.
"""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TypeVar

from sqlalchemy import Column, Connection, Dialect, bindparam, select
from sqlalchemy.engine.interfaces import DBAPICursor

from labkit.runtime.db.compiled import CompiledStatement, Row
from labkit.runtime.db.job import Job
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Step

A = TypeVar("A")
Q = TypeVar("Q")
Key = Column[object]
#: Key column → its value → the row.
Prefetched = Mapping[Key, Mapping[object, Row]]


def lookup(key: Key) -> Callable[[Callable[[Row, Q], A]], Step[Q, A]]:
    """Mark a function `(row, query) -> answer` as a step that finds one row and changes nothing.

    Args:
        key: the column that finds the row, by the query's field of the same name; the function
            is given None if there is no row.
    """

    def mark(answer: Callable[[Row, Q], A]) -> Step[Q, A]:
        @wraps(answer)
        def function(tx: Transaction, query: Q) -> A:
            value = getattr(query, key.name)
            rows = tx.prefetched.get(key)
            if rows is None:  # no group runs it
                rows = _find(tx.connection, tx.cursor, key, {value})
            return answer(rows.get(value), query)

        return Step(function, answer.__name__, reads=True, key=key)

    return mark


def prefetch(connection: Connection, cursor: DBAPICursor, group: list[Job]) -> Prefetched:
    """Find the rows that the lookups of a group ask for.

    Args:
        connection: the connection, inside the group's transaction.
        cursor: the driver's cursor.
        group: lookups, and other steps.

    Returns:
        Key → its value → the row, if there is one.
    """
    wanted: dict[Key, set[object]] = {}
    for job in group:
        key = job.step.key
        if key is not None:
            wanted.setdefault(key, set()).add(getattr(job.command, key.name))
    return {key: _find(connection, cursor, key, values) for key, values in wanted.items()}


def _find(
    connection: Connection, cursor: DBAPICursor, key: Key, values: set[object]
) -> Mapping[object, Row]:
    query = _query(key, len(values), connection.dialect)
    rows = query.execute(cursor, {str(n): value for n, value in enumerate(values)}).rows
    return {getattr(row, key.name): row for row in rows}


@cache
def _query(key: Key, size: int, dialect: Dialect) -> CompiledStatement:
    any_of = key.in_([bindparam(str(n), type_=key.type) for n in range(size)])
    return CompiledStatement(select(key.table).where(any_of).compile(dialect=dialect), dialect, "")
