"""Statements that are built once: a function of the values that differ from run to run.

Building a statement of SQLAlchemy Core and having it executed cost 190 µs, executing one that
stands cost 60, and the same SQL on the driver's own cursor 6 (measured on SQLite). An order runs
two dozen statements, so here each is built from Core once, compiled once a dialect, and then only
bound. What Core is there for stays: one source for SQLite and MySQL, types that are converted, and
no SQL put together from strings.
"""

import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import and_, eq
from typing import Any, Generic, NamedTuple, ParamSpec

from sqlalchemy import (
    BindParameter,
    BooleanClauseList,
    Column,
    Connection,
    Dialect,
    Insert,
    Table,
    bindparam,
    literal,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors

P = ParamSpec("P")
_PREFIX = "its_"  # a parameter must not have the name of a column that is set


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A statement with its values, ready to be executed."""

    statement: "Statement[Any]"
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement found, and how many rows it changed."""

    found: list[Any]
    rowcount: int

    def first(self) -> Any:
        """The first row, its columns as attributes; None where there is none."""
        return self.found[0] if self.found else None

    def one(self) -> Any:
        """The only row.

        Raises:
            LookupError: there is none, or more than one.
        """
        if len(self.found) != 1:
            raise LookupError(f"one row was expected, {len(self.found)} were found")
        return self.found[0]

    def column(self) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self.found]


class RowKey(NamedTuple):
    """Tells a row from all others, by the columns that a statement compares.

    Attributes:
        table: whose row.
        values: column name → value, sorted.
    """

    table: Table
    values: tuple[tuple[str, Any], ...]

    @property
    def conditions(self) -> list[Any]:
        """What finds the row."""
        return [self.table.c[column] == value for column, value in self.values]

    def __str__(self) -> str:
        where = ", ".join(f"{column} {value}" for column, value in self.values)
        return f"the row {where} of {self.table.name}"


class Statement(Generic[P]):
    """A statement that is built once; called with its values it gives a `BoundStatement`.

    Args:
        build: makes the Core statement, given a placeholder for each of its parameters.
    """

    def __init__(self, build: Callable[P, Any]) -> None:
        self.__doc__ = build.__doc__
        self._build: Callable[..., Any] = build
        self._names = tuple(inspect.signature(build).parameters)
        self.on = cache(self._compile)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BoundStatement:
        """Bind the values, in order or by name."""
        return BoundStatement(self, dict(zip(self._names, args, strict=False), **kwargs))

    def _compile(self, dialect: Dialect) -> "CompiledStatement":
        core = self._build(**{name: bindparam(_PREFIX + name) for name in self._names})
        compiled = core.compile(dialect=dialect)
        if compiled.post_compile_params:
            raise TypeError(f"a list stands in {compiled}: use `or`, or Transaction.execute")
        return CompiledStatement(compiled, dialect, _PREFIX)


def statement(build: Callable[P, Any]) -> Statement[P]:
    """Mark a function that builds a Core statement out of its parameters.

    A parameter that may be None must not be compared with `==`: that would be `= NULL`, never true.
    """
    return Statement(build)


class CompiledStatement:
    """The text of a statement in one dialect, and how its values and rows are converted.

    Args:
        compiled: by SQLAlchemy.
        dialect: for which.
        prefix: of the names of the parameters that are to be bound; all others are fixed.

    Attributes:
        tables: that it changes or looks at.
        locks: whether it locks the rows that it finds or writes.
    """

    def __init__(self, compiled: Any, dialect: Dialect, prefix: str) -> None:
        parts = visitors.iterate(compiled.statement)
        self.tables = frozenset(part for part in parts if isinstance(part, Table))
        self.locks = _locks(compiled.statement)
        self._keys = _keys_of(compiled, prefix)
        self._text = str(compiled)
        self._joins = dialect.name != "sqlite" and not compiled.isinsert
        self._error: Any = dialect.dbapi.Error  # type: ignore[union-attr]  # an engine's has one
        into = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
        }
        self._binds = [
            (
                name[len(prefix) :] if name.startswith(prefix) else None,
                compiled.params[name],
                into[name],
            )
            for name in compiled.positiontup
        ]
        selected = list(getattr(compiled.statement, "selected_columns", ()))
        self._row: Any = namedtuple("Row", [one.name for one in selected]) if selected else None
        kinds = [one.type.dialect_impl(dialect) for one in selected]
        self._out_of = [
            (at, process)
            for at, kind in enumerate(kinds)
            if (process := kind.result_processor(dialect, None))
        ]

    def row_key(self, values: Mapping[str, Any]) -> RowKey | None:
        """Return which row it is about, with these values; None if its text does not tell."""
        if len(self.tables) != 1:
            return None
        (table,) = self.tables
        known = {column: fixed if own is None else values[own] for column, own, fixed in self._keys}
        return _key_in(table, known)

    def execute(self, cursor: Any, values: Mapping[str, Any]) -> Rows:
        """Run it on a driver's cursor.

        Raises:
            DBAPIError: what SQLAlchemy makes of the driver's error.
        """
        try:
            cursor.execute(self._text, self._parameters(values))
            found = [self._convert(row) for row in cursor.fetchall()] if self._row else []
        except self._error as error:
            raise DBAPIError.instance(self._text, None, error, self._error) from error
        return Rows(found, cursor.rowcount)

    def execute_many(self, cursor: Any, many: Sequence[Mapping[str, Any]]) -> int:
        """Run it with each of these values, in as few round trips as the driver can.

        Returns:
            How many rows it changed, all in all.

        Raises:
            DBAPIError: what SQLAlchemy makes of the driver's error.
        """
        bound = [self._parameters(values) for values in many]
        try:
            if self._joins:
                return self._execute_joined(cursor, bound)
            cursor.executemany(self._text, bound)  # PyMySQL makes one INSERT of all rows
        except self._error as error:
            raise DBAPIError.instance(self._text, None, error, self._error) from error
        return int(cursor.rowcount)

    def _execute_joined(self, cursor: Any, bound: list[Any]) -> int:
        """Several statements in one packet, each with its own count of rows."""
        cursor.execute(";".join([self._text] * len(bound)), list(chain.from_iterable(bound)))
        changed = int(cursor.rowcount)
        while cursor.nextset():
            changed += cursor.rowcount
        return changed

    def _parameters(self, values: Mapping[str, Any]) -> list[Any]:
        bound = []
        for own, fixed, into in self._binds:
            value = fixed if own is None else values[own]
            bound.append(into(value) if into else value)
        return bound

    def _convert(self, row: Any) -> Any:
        if self._out_of:
            row = list(row)
            for at, process in self._out_of:
                row[at] = process(row[at])
        return self._row._make(row)


def row_key_of(statement: Any) -> RowKey | None:
    """Return which row a statement of SQLAlchemy Core is about, if it locks one, and just one."""
    if statement.is_insert or not _locks(statement):
        return None
    tables = statement.get_final_froms() if statement.is_select else [statement.table]
    if len(tables) != 1 or not isinstance(tables[0], Table):
        return None
    return _key_in(tables[0], {name: right.value for name, right in _compared(statement)})


def _locks(statement: Any) -> bool:
    """Whether a statement locks the rows that it finds or writes."""
    if statement.is_select:
        return getattr(statement, "_for_update_arg", None) is not None
    return bool(statement.is_dml)


def _key_in(table: Table, known: Mapping[str, Any]) -> RowKey | None:
    """The key of one row, if these columns tell it from all others."""
    primary = [column.name for column in table.primary_key]
    if primary and known.keys() >= set(primary):
        return RowKey(table, tuple((column, known[column]) for column in primary))
    unique = [name for name in known if table.c[name].unique]
    return RowKey(table, tuple((name, known[name]) for name in unique[:1])) if unique else None


def _keys_of(compiled: Any, prefix: str) -> list[tuple[str, str | None, Any]]:
    """The columns that a statement compares with one value: name, own parameter, fixed value.

    Of an insert these are the columns of the primary key.
    """
    if compiled.isinsert:
        keys = [column.name for column in compiled.statement.table.primary_key]
        return [(name, name, None) for name in keys if name in compiled.binds]
    return [
        (name, right.key[len(prefix) :] if right.key.startswith(prefix) else None, right.value)
        for name, right in _compared(compiled.statement)
    ]


def _compared(statement: Any) -> list[tuple[str, BindParameter[Any]]]:
    """The columns that must be equal to a value, and that."""
    pairs = [
        (part.left, part.right)
        for part in _all_of(getattr(statement, "whereclause", None))
        if getattr(part, "operator", None) is eq
    ]
    return [
        (left.name, right)
        for left, right in pairs
        if isinstance(left, Column) and isinstance(right, BindParameter)
    ]


def _all_of(where: Any) -> list[Any]:
    """The conditions that must all hold."""
    if isinstance(where, BooleanClauseList) and where.operator is and_:
        return [one for part in where.clauses for one in _all_of(part)]
    return [] if where is None else [where]


#: Columns that are unique together in a table: what `insert_once` may find taken.
Key = tuple[Column[Any], ...]


@cache
def insertion(
    table: Table, columns: tuple[str, ...], dialect: Dialect, once: Key
) -> CompiledStatement:
    """An insert of one row; with a key it does nothing where a row has that key already.

    It names the key, so that a row that some *other* unique key refuses is an error and no
    repetition. MySQL has no such insert: `IGNORE` passes over other errors too, and `ON DUPLICATE
    KEY` counts as inserted what was there. There the insert fails, alone, its transaction goes on,
    and `row_of_key` tells which key it was.
    """
    core: Insert = table.insert()
    if once and dialect.name == "sqlite":
        core = sqlite.insert(table).on_conflict_do_nothing(index_elements=once)
    return CompiledStatement(core.compile(dialect=dialect, column_keys=list(columns)), dialect, "")


@cache
def row_of_key(key: Key, dialect: Dialect) -> CompiledStatement:
    """A query for the row that has a key; its values are named after the columns."""
    same = (column == bindparam(_PREFIX + column.name) for column in key)
    return CompiledStatement(
        select(literal(1).label("there")).where(*same).compile(dialect=dialect), dialect, _PREFIX
    )


def cursor_of(connection: Connection) -> Any:
    """The driver's cursor of a transaction that SQLAlchemy has begun."""
    return connection.connection.cursor()
