"""Changes of a database that revisions are made of; each does nothing where it is done already.

MySQL commits each statement that changes a table by itself, so that a revision which was killed is
there in part. It is run again from its beginning, and must find its way: every change looks first.
Revisions use these instead of Alembic's own operations, which they call.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import op
from sqlalchemy import Column, Connection, Engine, MetaData, Table, inspect, select, update
from sqlalchemy.types import TypeEngine

#: Rows that one transaction of a migration changes: services wait for it as for a slow order.
BATCH_ROWS = 500


def create_table(name: str, *columns: Column[Any]) -> None:
    """Create a table."""
    if not inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns)


def add_column(table: str, column: Column[Any]) -> None:
    """Add a column, which must be nullable: the release before inserts rows without it."""
    assert column.nullable, f"{table}.{column.name}: an older release inserts rows without it"
    if column.name not in _columns(table):
        op.add_column(table, column)


def allow_null(table: str, name: str, kind: TypeEngine[Any]) -> None:
    """Let a column be empty, so that a later release need not write it.

    SQLite cannot change a column: Alembic copies the table, in one transaction.
    """
    if _columns(table)[name]["nullable"]:
        return
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table(table) as batch:
            batch.alter_column(name, existing_type=kind, nullable=True)
    else:
        op.alter_column(table, name, existing_type=kind, nullable=True)


def drop_column(table: str, name: str) -> None:
    """Drop a column that no release uses any more."""
    if name in _columns(table):
        op.drop_column(table, name)


def copy_column(table: str, source: str, target: str) -> None:
    """Copy a column to another one where that is empty, in small transactions of their own."""
    if source not in _columns(table):  # a later revision, which was killed, has dropped it
        return
    engine = op.get_bind().engine
    rows = Table(table, MetaData(), autoload_with=op.get_bind())
    with _database_free():
        for keys in _batches(engine, rows, source, target):
            [key] = rows.primary_key.columns
            copy = update(rows).where(key.in_(keys), rows.c[target].is_(None))
            with engine.begin() as transaction:
                transaction.execute(copy.values({target: rows.c[source]}))


@contextmanager
def _database_free() -> Iterator[None]:
    """Let others write during a block: SQLite's one writer was until now this revision."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite" or not _is_in_transaction(connection):
        yield  # each statement is committed by itself
        return
    connection.exec_driver_sql("COMMIT")
    yield
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_in_transaction(connection: Connection) -> bool:
    raw = connection.connection.dbapi_connection
    return isinstance(raw, sqlite3.Connection) and raw.in_transaction


def _batches(engine: Engine, rows: Table, source: str, target: str) -> Iterator[list[int]]:
    """Yield the keys of the rows that lack a value, some at a time, each once."""
    [key] = rows.primary_key.columns
    lacking = select(key).where(rows.c[target].is_(None), rows.c[source].is_not(None))
    lacking, last = lacking.order_by(key).limit(BATCH_ROWS), None
    while True:
        with engine.connect() as connection:
            after = lacking if last is None else lacking.where(key > last)
            keys = list(connection.execute(after).scalars())
        if not keys:
            return
        yield keys
        last = keys[-1]


def _columns(table: str) -> dict[str, Any]:
    return {column["name"]: column for column in inspect(op.get_bind()).get_columns(table)}
