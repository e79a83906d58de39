"""Compiled statements: SQL text in one dialect, and how values and rows are converted."""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors

from labkit.runtime.db.row_keys import Compiled, RowKey, key_columns, key_in, locks_rows, own_name

#: A row, its columns as attributes, or None if there is none. Which columns, the statement says.
Row = Any
#: Name of a parameter → its value.
Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a statement returned, and the number of rows that it changed."""

    rows: list[Row]
    rowcount: int

    def first(self) -> Row:
        """Return the first row, its columns as attributes; None if there is none."""
        return self.rows[0] if self.rows else None

    def single(self) -> Row:
        """Return the only row.

        Raises:
            LookupError: there is none, or more than one.
        """
        if len(self.rows) != 1:
            raise LookupError(f"one row was expected, {len(self.rows)} were found")
        return self.rows[0]

    def column(self) -> list[Any]:
        """Return the first column of all rows."""
        return [row[0] for row in self.rows]


class CompiledStatement:
    """The text of a statement in one dialect, and how its values and rows are converted.

    Args:
        compiled: the statement, compiled by SQLAlchemy.
        dialect: the dialect that it was compiled for.
        prefix: prefix of the names of the parameters that are to be bound; all others are fixed.

    Attributes:
        tables: the tables that it changes or reads.
        locks: whether it locks the rows that it finds or writes.
    """

    def __init__(self, compiled: Compiled, dialect: Dialect, prefix: str) -> None:
        parts = visitors.iterate(compiled.statement)
        self.tables = frozenset(part for part in parts if isinstance(part, Table))
        self.locks = locks_rows(compiled.statement)
        self._key_columns = key_columns(compiled, prefix)
        self._text = str(compiled)
        self._joins = dialect.name != "sqlite" and not compiled.isinsert
        self._error: type[Exception] = dialect.dbapi.Error  # type: ignore[union-attr]  # an engine's has one
        self._binds = [
            (
                own_name(name, prefix),
                compiled.params[name],
                compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect),
            )
            for name in compiled.positiontup
        ]
        columns = list(getattr(compiled.statement, "selected_columns", ()))
        self._row: Any = namedtuple("Row", [col.name for col in columns]) if columns else None
        types = [column.type.dialect_impl(dialect) for column in columns]
        self._result_processors = [
            (index, process)
            for index, kind in enumerate(types)
            if (process := kind.result_processor(dialect, None))
        ]

    def row_key(self, values: Values) -> RowKey | None:
        """Return which row it is about, with these values; None if its text does not tell."""
        if len(self.tables) != 1:
            return None
        (table,) = self.tables
        compared = {
            name: fixed if parameter is None else values[parameter]
            for name, parameter, fixed in self._key_columns
        }
        return key_in(table, compared)

    def execute(self, cursor: DBAPICursor, values: Values) -> Rows:
        """Run it on a driver's cursor.

        Raises:
            DBAPIError: SQLAlchemy's error for the driver's.
        """
        try:
            cursor.execute(self._text, self._parameters(values))
            rows = [self._convert(row) for row in cursor.fetchall()] if self._row else []
        except self._error as error:
            raise DBAPIError.instance(self._text, None, error, self._error) from error
        return Rows(rows, cursor.rowcount)

    def execute_many(self, cursor: DBAPICursor, many: Sequence[Values]) -> int:
        """Run it with each of these values, in as few round trips as the driver can.

        Returns:
            How many rows it changed, all in all.

        Raises:
            DBAPIError: SQLAlchemy's error for the driver's.
        """
        parameters = [self._parameters(values) for values in many]
        try:
            if self._joins:
                return self._execute_joined(cursor, parameters)
            cursor.executemany(self._text, parameters)  # PyMySQL makes one INSERT of all rows
        except self._error as error:
            raise DBAPIError.instance(self._text, None, error, self._error) from error
        return int(cursor.rowcount)

    def _execute_joined(self, cursor: DBAPICursor, parameters: list[list[object]]) -> int:
        """Send several statements in one packet, each with its own count of rows."""
        text = ";".join([self._text] * len(parameters))
        cursor.execute(text, list(chain.from_iterable(parameters)))
        changed = int(cursor.rowcount)
        while cursor.nextset():
            changed += cursor.rowcount
        return changed

    def _parameters(self, values: Values) -> list[object]:
        parameters: list[object] = []
        for own, fixed, process in self._binds:
            value = fixed if own is None else values[own]
            parameters.append(process(value) if process else value)
        return parameters

    def _convert(self, row: Row) -> Row:
        if self._result_processors:
            row = list(row)
            for index, process in self._result_processors:
                row[index] = process(row[index])
        return self._row._make(row)


def cursor_of(connection: Connection) -> DBAPICursor:
    """Return the driver's cursor of a transaction that SQLAlchemy has begun."""
    return connection.connection.cursor()
