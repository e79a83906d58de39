"""A mirror: all databases of a home on one connection, for queries that span them.

SQLite attaches its files. Tables on a MySQL server are copied first, so that every query is written
once, in SQLite's dialect. Either way each database is read in one snapshot, and all snapshots begin
at the same moment, as nearly as those of seven databases can.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from sqlalchemy import Column, Connection, DateTime, Table, make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from labkit.ops.reader import DATABASES, DatabaseAway, Reader
from labkit.runtime.registry.ids import first_of

_BUSY_SECONDS = 2.0
_ROWS_AT_ONCE = 10_000
_SETTINGS = ("temp_store = MEMORY", "cache_size = -64000", "mmap_size = 2000000000")


@contextmanager
def open_mirror(reader: Reader) -> Iterator[sqlite3.Connection]:
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
                with reader.translate_errors(name):
                    attach(connection, name, Path(str(make_url(reader.url(name)).database)))
            else:
                connection.execute(f"ATTACH '' AS {_quoted(name)}")
                with reader.translate_errors(name):
                    servers[name] = sources.enter_context(reader.connect(name))
        connection.execute("BEGIN")
        for name in DATABASES:
            with reader.translate_errors(name):
                _begin_snapshot(servers.get(name), connection, name)
        for name, server in servers.items():
            for table in DATABASES[name]:
                with reader.translate_errors(name):
                    _copy(server, connection, name, table)
        yield connection


def connect() -> sqlite3.Connection:
    """Open a connection that has the SQL functions `sha256(text)` and `first_of(milliseconds)`."""
    connection = sqlite3.connect(
        ":memory:", _BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}")
    connection.create_function("sha256", 1, _sha256, deterministic=True)
    connection.create_function("first_of", 1, first_of, deterministic=True)
    return connection


def attach(connection: sqlite3.Connection, name: str, path: Path, mode: str = "ro") -> None:
    """Attach a database file under its service's name; a missing file is not made.

    Args:
        connection: of `connect`.
        name: of the service.
        path: of the file.
        mode: `ro` to read, `rw` to write as well.
    """
    connection.execute(f"ATTACH ? AS {_quoted(name)}", [f"{path.absolute().as_uri()}?mode={mode}"])


def _begin_snapshot(server: Connection | None, connection: sqlite3.Connection, name: str) -> None:
    """Begin a snapshot by reading something; check that a file has all tables.

    Raises:
        DatabaseAway: a table is missing.
    """
    wanted = {table.name for table in DATABASES[name]}
    if server is not None:
        server.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM {min(wanted)} LIMIT 1) AS one")
        return
    tables = connection.execute(f"SELECT name FROM {_quoted(name)}.sqlite_master")
    if missing := wanted - {row[0] for row in tables}:
        text = f"the database of {name} has no {', '.join(sorted(missing))}: it is being made anew"
        raise DatabaseAway(f"{text}, or is of an older labkit; ask again, or: labkit reset")


def _copy(source: Connection, target: sqlite3.Connection, name: str, table: Table) -> None:
    """Copy a table with its key and indexes; times become texts, as SQLite holds them."""
    definition = str(CreateTable(table).compile(dialect=sqlite.dialect()))
    target.execute(definition.replace("CREATE TABLE ", f"CREATE TABLE {_quoted(name)}.", 1))
    columns = ", ".join(_as_text(source, column) for column in table.c)
    rows = source.exec_driver_sql(f"SELECT {columns} FROM {table.name}").cursor
    insert = f"INSERT INTO {_quoted(name)}.{table.name} VALUES ({', '.join('?' for _ in table.c)})"
    while rows and (part := rows.fetchmany(_ROWS_AT_ONCE)):
        target.executemany(insert, part)
    for index in table.indexes:
        names = ", ".join(column.name for column in index.columns)
        target.execute(f"CREATE INDEX {_quoted(name)}.{index.name} ON {table.name} ({names})")


def _as_text(source: Connection, column: Column[object]) -> str:
    name = source.dialect.identifier_preparer.quote(column.name)
    return f"CAST({name} AS CHAR)" if isinstance(column.type, DateTime) else str(name)


def _quoted(name: str) -> str:
    """Quote a service's name for SQL, where `order` is a keyword."""
    return f'"{name}"'


def _sha256(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
