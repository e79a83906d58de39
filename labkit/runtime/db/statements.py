"""Statements that are built once: a function of the values that differ from run to run.

Building a statement of SQLAlchemy Core and having it executed cost 190 µs, executing one that
stands cost 60, and the same SQL on the driver's own cursor 6 (measured on SQLite). An order runs
two dozen statements, so here each is built from Core once, compiled once a dialect, and then only
bound. What Core is there for stays: one source for SQLite and MySQL, types that are converted, and
no SQL put together from strings.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, ParamSpec

from sqlalchemy import (
    Column,
    Dialect,
    Executable,
    Insert,
    Select,
    Table,
    bindparam,
    false,
    literal,
    select,
)
from sqlalchemy.dialects import sqlite

from labkit.runtime.db.compiled import CompiledStatement, Values

P = ParamSpec("P")
_PREFIX = "its_"  # a parameter must not have the name of a column that is set

#: Columns that are unique together in a table: the key that `insert_once` may find taken.
Key = tuple[Column[object], ...]


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A statement with its values, ready to be executed."""

    statement: "Statement[...]"
    values: Values


class Statement(Generic[P]):
    """A statement that is built once; called with its values it gives a `BoundStatement`.

    Args:
        build: makes the Core statement, given a placeholder for each of its parameters.
    """

    def __init__(self, build: Callable[P, Executable]) -> None:
        self.__doc__ = build.__doc__
        self._build: Callable[..., Any] = build
        self._names = tuple(inspect.signature(build).parameters)
        self.on = cache(self._compile)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BoundStatement:
        """Bind the values, in order or by name."""
        return BoundStatement(self, dict(zip(self._names, args, strict=False), **kwargs))

    def _compile(self, dialect: Dialect) -> CompiledStatement:
        core = self._build(**{name: bindparam(_PREFIX + name) for name in self._names})
        compiled = core.compile(dialect=dialect)
        if compiled.post_compile_params:
            raise TypeError(f"a list stands in {compiled}: use `or`, or Transaction.execute")
        return CompiledStatement(compiled, dialect, _PREFIX)


def statement(build: Callable[P, Executable]) -> Statement[P]:
    """Mark a function that builds a Core statement out of its parameters.

    A parameter that may be None must not be compared with `==`: that would be `= NULL`, never true.
    """
    return Statement(build)


@cache
def insertion(
    table: Table, columns: tuple[str, ...], dialect: Dialect, once: Key
) -> CompiledStatement:
    """Build an insert of one row; given a key it does nothing where a row has that key already.

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
def among(
    query: Select[Any], column: Column[Any], size: int, dialect: Dialect
) -> CompiledStatement:
    """Build a query for the rows whose column has one of so many values, named `0`, `1` and so on.

    Args:
        query: built once, with parameters of its own perhaps; it stands for itself.
        column: the column.
        size: how many values.
        dialect: the dialect.
    """
    values = [bindparam(str(n), type_=column.type) for n in range(size)]
    any_of = column.in_(values) if values else false()
    return CompiledStatement(query.where(any_of).compile(dialect=dialect), dialect, "")


@cache
def row_of_key(key: Key, dialect: Dialect) -> CompiledStatement:
    """Build a query for the row that has a key; its values are named after the columns."""
    same = (column == bindparam(_PREFIX + column.name) for column in key)
    return CompiledStatement(
        select(literal(1).label("there")).where(*same).compile(dialect=dialect), dialect, _PREFIX
    )
