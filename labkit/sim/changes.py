"""The tables of a life before and after it: the rows that came, and what changed in others."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Table

from labkit.ops.reader import DATABASES

Row = Mapping[str, Any]
#: service and table → its rows by their primary keys.
Snapshot = Mapping[tuple[str, str], Mapping[tuple[object, ...], Row]]

#: Columns that tell nothing in a list of changes: they are long, or say again what others say.
_LEFT_OUT = ("body", "hash", "request", "result", "answer", "trace", "groups", "_time", "next_try")
_MAX_CHARACTERS = 28


def snapshot(rows_of: Callable[[str, str], Iterable[sqlite3.Row]]) -> Snapshot:
    """Return all rows of all tables.

    Args:
        rows_of: returns the rows of a service's table.
    """
    return {
        (service, table.name): {
            _key_of(table, row): row for row in map(dict, rows_of(service, table.name))
        }
        for service, tables in DATABASES.items()
        for table in tables
    }


def changes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Yield a line for each row that differs between two snapshots."""
    for where, rows in after.items():
        name, old_rows = ".".join(where), before[where]
        for key, row in rows.items():
            old = old_rows.get(key)
            if old is None:
                yield f"{name} + {_words(row)}"
            elif changed := [column for column in _columns(row) if row[column] != old[column]]:
                moves = (
                    f"{column} {_cut(old[column])} → {_cut(row[column])}" for column in changed
                )
                yield f"{name} {_cut(key[-1])}: {', '.join(moves)}"
        for key in old_rows.keys() - rows.keys():
            yield f"{name} - {_words(old_rows[key])}"


def _key_of(table: Table, row: Row) -> tuple[object, ...]:
    """Return the primary key of a row; all of it where there is none, as in a log."""
    return tuple(row[column.name] for column in table.primary_key) or tuple(row.values())


def _words(row: Row) -> str:
    """Write a row without what is empty."""
    return ", ".join(
        f"{column} {_cut(row[column])}" for column in _columns(row) if row[column] not in (None, "")
    )


def _columns(row: Row) -> list[str]:
    return [column for column in row if not column.endswith(_LEFT_OUT)]


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
