"""All databases of a home on one connection, for questions that span them.

SQLite reads its files where they lie. What lies on a MySQL server is copied first, so that every
question is written once. Either way each database is seen in one snapshot, and all snapshots begin
at the same moment, as nearly as seven databases can.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, Table, make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from labkit.ops.reader import DATABASES, DatabaseAway, Reader
from labkit.runtime.registry.ids import first_of

_BUSY_SECONDS = 2.0
_ROWS_AT_ONCE = 10_000
_SETTINGS = ("temp_store = MEMORY", "cache_size = -64000", "mmap_size = 2000000000")


@contextmanager
def mirrored(reader: Reader) -> Iterator[sqlite3.Connection]:
    """Open all databases on one connection; a table of them is named as `goods.trade_goods`.

    Args:
        reader: of the lab's databases.

    Raises:
        DatabaseAway: one of them does not answer, or lacks a table.
    """
    connection = connect()
    with closing(connection), ExitStack() as sources:
        servers: dict[str, Connection] = {}
        for name in DATABASES:
            if reader.is_file(name):
                with reader.naming(name):
                    attach(connection, name, Path(str(make_url(reader.url(name)).database)))
            else:
                connection.execute(f"ATTACH '' AS {_quoted(name)}")
                with reader.naming(name):
                    servers[name] = sources.enter_context(reader.connect(name))
        connection.execute("BEGIN")
        for name in DATABASES:
            with reader.naming(name):
                _begin_snapshot(servers.get(name), connection, name)
        for name, server in servers.items():
            for table in DATABASES[name]:
                with reader.naming(name):
                    _copy(server, connection, name, table)
        yield connection


def connect() -> sqlite3.Connection:
    """Open a connection that has the functions `sha256(text)` and `first_of(milliseconds)`."""
    connection = sqlite3.connect(
        ":memory:", _BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}")
    connection.create_function("sha256", 1, _sha256, deterministic=True)
    connection.create_function("first_of", 1, first_of, deterministic=True)
    return connection


def attach(connection: sqlite3.Connection, name: str, path: Path, mode: str = "ro") -> None:
    """Attach a database file under its service's name; it is never made.

    Args:
        connection: of `connect`.
        name: of the service.
        path: of the file.
        mode: `ro` only looks, `rw` changes as well.
    """
    connection.execute(f"ATTACH ? AS {_quoted(name)}", [f"{path.absolute().as_uri()}?mode={mode}"])


def _begin_snapshot(server: Connection | None, connection: sqlite3.Connection, name: str) -> None:
    """Read something, with which a snapshot begins; a file must have all tables.

    Raises:
        DatabaseAway: it has not.
    """
    wanted = {table.name for table in DATABASES[name]}
    if server is not None:
        server.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM {min(wanted)} LIMIT 1) AS one")
        return
    found = connection.execute(f"SELECT name FROM {_quoted(name)}.sqlite_master")
    if missing := wanted - {row[0] for row in found}:
        text = f"the database of {name} has no {', '.join(sorted(missing))}: it is being made anew"
        raise DatabaseAway(f"{text}, or is of an older labkit; ask again, or: labkit reset")


def _copy(source: Connection, target: sqlite3.Connection, name: str, table: Table) -> None:
    """Copy a table with its key, times as SQLite would hold them."""
    made = str(CreateTable(table).compile(dialect=sqlite.dialect()))
    target.execute(made.replace("CREATE TABLE ", f"CREATE TABLE {_quoted(name)}.", 1))
    columns = ", ".join(_as_text(source, column) for column in table.c)
    rows = source.exec_driver_sql(f"SELECT {columns} FROM {table.name}").cursor
    insert = f"INSERT INTO {_quoted(name)}.{table.name} VALUES ({', '.join('?' for _ in table.c)})"
    while rows and (part := rows.fetchmany(_ROWS_AT_ONCE)):
        target.executemany(insert, part)
    for index in table.indexes:
        names = ", ".join(column.name for column in index.columns)
        target.execute(f"CREATE INDEX {_quoted(name)}.{index.name} ON {table.name} ({names})")


def _as_text(source: Connection, column: Any) -> str:
    name = source.dialect.identifier_preparer.quote(column.name)
    return f"CAST({name} AS CHAR)" if isinstance(column.type, DateTime) else str(name)


def _quoted(name: str) -> str:
    """A service's name in SQL: one of them is a word of SQL."""
    return f'"{name}"'


def _sha256(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
