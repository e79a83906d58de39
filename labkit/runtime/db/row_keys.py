"""Row keys: which one row a statement is about, read off its text."""

from collections.abc import Iterator, Mapping
from operator import and_, eq
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, BooleanClauseList, Column, ColumnElement, Table

#: A Core statement, or a part of one. SQLAlchemy's own types leave out what is read of it here.
Clause = Any
#: A statement that SQLAlchemy has compiled; so it is with this one.
Compiled = Any


class RowKey(NamedTuple):
    """Tells a row from all others, by the columns that a statement compares.

    Attributes:
        table: the table of the row.
        values: column name → value, sorted.
    """

    table: Table
    values: tuple[tuple[str, object], ...]

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """Build the conditions that select the row."""
        return [self.table.c[column] == value for column, value in self.values]

    def __str__(self) -> str:
        where = ", ".join(f"{column} {value}" for column, value in self.values)
        return f"the row {where} of {self.table.name}"


class KeyColumn(NamedTuple):
    """A column that a statement compares with one value.

    Attributes:
        name: name of the column.
        parameter: the statement's own parameter that gives the value; None if the value is fixed.
        fixed: the value, where it is fixed.
    """

    name: str
    parameter: str | None
    fixed: object = None


def locks_rows(statement: Clause) -> bool:
    """Return True if a statement locks the rows that it finds or writes."""
    if statement.is_select:
        return getattr(statement, "_for_update_arg", None) is not None
    return bool(statement.is_dml)


def row_key_of(statement: Clause) -> RowKey | None:
    """Return the key of the row that a Core statement locks, if it locks exactly one."""
    if statement.is_insert or not locks_rows(statement):
        return None
    tables = statement.get_final_froms() if statement.is_select else [statement.table]
    if len(tables) != 1 or not isinstance(tables[0], Table):
        return None
    return key_in(tables[0], {name: bind.value for name, bind in _equalities(statement)})


def key_in(table: Table, values: Mapping[str, object]) -> RowKey | None:
    """Return the key of the row with these column values, if they tell it from all others."""
    primary = [column.name for column in table.primary_key]
    if primary and values.keys() >= set(primary):
        return RowKey(table, tuple((column, values[column]) for column in primary))
    unique = [name for name in values if table.c[name].unique]
    return RowKey(table, tuple((name, values[name]) for name in unique[:1])) if unique else None


def key_columns(compiled: Compiled, prefix: str) -> list[KeyColumn]:
    """List the columns that a statement compares with one value.

    Of an insert these are the columns of the primary key.

    Args:
        compiled: the statement, compiled by SQLAlchemy.
        prefix: prefix of the names of its own parameters.
    """
    if compiled.isinsert:
        names = [column.name for column in compiled.statement.table.primary_key]
        return [KeyColumn(name, name) for name in names if name in compiled.binds]
    return [
        KeyColumn(name, own_name(bind.key, prefix), bind.value)
        for name, bind in _equalities(compiled.statement)
    ]


def own_name(parameter: str, prefix: str) -> str | None:
    """Return a parameter's name without the prefix; None if it has none, so that it is fixed."""
    return parameter[len(prefix) :] if parameter.startswith(prefix) else None


def _equalities(statement: Clause) -> Iterator[tuple[str, BindParameter[object]]]:
    for part in _conjuncts(getattr(statement, "whereclause", None)):
        if getattr(part, "operator", None) is not eq:
            continue
        if isinstance(part.left, Column) and isinstance(part.right, BindParameter):
            yield part.left.name, part.right


def _conjuncts(where: Clause | None) -> Iterator[Clause]:
    if isinstance(where, BooleanClauseList) and where.operator is and_:
        for clause in where.clauses:
            yield from _conjuncts(clause)
    elif where is not None:
        yield where
