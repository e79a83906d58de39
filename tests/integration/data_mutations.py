"""Every column of every table changed, emptied or filled, and every row deleted or doubled.

A mutation is a statement on one row, on a connection that has all databases; it is rolled back
after the look. What the schema itself refuses counts as seen.
"""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Integer, Table
from sqlalchemy.types import DateTime

from labkit.ops.reader import DATABASES


@dataclass(frozen=True)
class Kind:
    """One way to spoil one column, or a whole row, of one table of one database.

    Attributes:
        database: whose.
        table: which.
        column: which; `*` is the row.
        change: what is done.
        sql: the statement, whose `:row` is the row's number and `:other` another's.
        applies: SQL that says of which rows it can be done.
    """

    database: str
    table: str
    column: str
    change: str
    sql: str
    applies: str = "1"

    @property
    def place(self) -> str:
        """Return what an exception names."""
        return f"{self.table}.{self.column}"

    @property
    def name(self) -> str:
        """Return place and change."""
        return f"{self.place}: {self.change}"


def kinds() -> Iterator[Kind]:
    """List every way there is, table by table."""
    for database, tables in DATABASES.items():
        for table in tables:
            place = f'"{database}".{table.name}'
            delete = f"DELETE FROM {place} WHERE rowid = :row"
            yield Kind(database, table.name, "*", "deleted", delete)
            yield Kind(database, table.name, "*", "doubled", _double(place, table))
            for column in table.c:
                for change, value, applies in _changes(place, column):
                    name = _quoted(column)
                    sql = f"UPDATE {place} SET {name} = {value} WHERE rowid = :row"
                    yield Kind(database, table.name, column.name, change, sql, applies)


def _changes(place: str, column: Column[Any]) -> Iterator[tuple[str, str, str]]:
    """Name the ways to spoil a column, each with its new value and the rows that it suits."""
    name = _quoted(column)
    other = f"(SELECT {name} FROM {place} WHERE rowid = :other)"
    yield "another row's", other, f"{name} IS NOT {other}"
    if column.nullable:
        yield "lost", "NULL", f"{name} IS NOT NULL"
        yield "made up", _made_up(column), f"{name} IS NULL"
    if isinstance(column.type, DateTime):
        yield (
            "an hour later",
            f"strftime('%Y-%m-%d %H:%M:%f000', {name}, '+1 hour')",
            f"{name} IS NOT NULL",
        )
    elif isinstance(column.type, Integer):
        yield "one more", f"{name} + 1", f"{name} IS NOT NULL"
    else:
        yield "a letter more", f"{name} || 'x'", f"{name} IS NOT NULL"


def _made_up(column: Column[Any]) -> str:
    if isinstance(column.type, DateTime):
        return "'2026-01-05 09:30:00.000000'"
    return "1" if isinstance(column.type, Integer) else "'x'"


def _double(place: str, table: Table) -> str:
    """Write SQL for a copy of a row: under a key of its own where the table has one."""
    keys = {column.name for column in list(table.primary_key)[-1:]}
    names = ", ".join(_quoted(column) for column in table.c)
    values = ", ".join(
        _quoted(column)
        + (" + 1" if isinstance(column.type, Integer) else " || 'x'") * (column.name in keys)
        for column in table.c
    )
    return f"INSERT INTO {place} ({names}) SELECT {values} FROM {place} WHERE rowid = :row"


def rows_for(mirror: sqlite3.Connection, kind: Kind, most: int, dice: random.Random) -> Any:
    """Pick rows for a kind of mutation, as pairs of the row and another one."""
    place = f'"{kind.database}".{kind.table}'
    everything = [row[0] for row in mirror.execute(f"SELECT rowid FROM {place}")]
    dice.shuffle(everything)
    matches: list[dict[str, int]] = []
    for row in everything:
        pair = {"row": row, "other": dice.choice(everything)}
        suits = f"SELECT 1 FROM {place} WHERE rowid = :row AND {kind.applies}"
        if len(matches) < most and mirror.execute(suits, pair).fetchone():
            matches.append(pair)
    return matches


def _quoted(column: Column[Any]) -> str:
    return f'"{column.name}"'
