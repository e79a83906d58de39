"""Lookups: steps that find one row by a key; those of a group are found by one query.

A query by itself costs MySQL and its driver 0.27 ms of CPU, one of ten that go together 0.06.
"""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Dialect, bindparam, select

from labkit.runtime.db.compiled import CompiledStatement
from labkit.runtime.db.job import Job
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Step

A = TypeVar("A")
Q = TypeVar("Q")
Key = Column[Any]


def lookup(key: Key) -> Callable[[Callable[[Any, Q], A]], Step[Q, A]]:
    """Mark a function `(row, query) -> answer` as a step that finds one row and changes nothing.

    Args:
        key: the row is the one where this column is as the query's field of the same name; the
            function is given None where there is none.
    """

    def mark(answer: Callable[[Any, Q], A]) -> Step[Q, A]:
        @wraps(answer)
        def function(tx: Transaction, query: Q) -> A:
            value = getattr(query, key.name)
            rows = tx.prefetched.get(key)
            if rows is None:  # it is not run by a group
                rows = _find(tx.connection, tx.cursor, key, {value})
            return answer(rows.get(value), query)

        return Step(function, answer.__name__, reads=True, key=key)

    return mark


def find_together(
    connection: Connection, cursor: Any, group: list[Job]
) -> dict[Key, Mapping[Any, Any]]:
    """Find what the lookups of a group look up.

    Args:
        connection: inside the group's transaction.
        cursor: the driver's.
        group: lookups, and other steps.

    Returns:
        Key → its value → the row, where there is one.
    """
    wanted: dict[Key, set[Any]] = {}
    for work in group:
        key = work.step.key
        if key is not None:
            wanted.setdefault(key, set()).add(getattr(work.command, key.name))
    return {key: _find(connection, cursor, key, values) for key, values in wanted.items()}


def _find(connection: Connection, cursor: Any, key: Key, values: set[Any]) -> Mapping[Any, Any]:
    query = _query(key, len(values), connection.dialect)
    found = query.execute(cursor, {str(at): value for at, value in enumerate(values)}).rows
    return {getattr(row, key.name): row for row in found}


@cache
def _query(key: Key, size: int, dialect: Dialect) -> CompiledStatement:
    any_of = key.in_([bindparam(str(at), type_=key.type) for at in range(size)])
    return CompiledStatement(select(key.table).where(any_of).compile(dialect=dialect), dialect, "")
