"""Engines: how SQLite and MySQL databases are opened.

Both are asked for the same: a commit that returned is on disk, and a reader sees one moment.
"""

import sqlite3
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import StaticPool

from labkit.runtime.db.read_timeout import set_read_timeout

_BUSY_MS = 2000
#: SQLite cuts its write-ahead log to this size, after a reader that stayed has made it longer.
#: Without one it grows to about the same before its content is copied into the database.
LOG_BYTES = 4_000_000
#: How long a MySQL server may take to be reached, and to answer; there is no limit by default.
_CONNECT_S, _ANSWER_S = 2, 5.0
#: Wrong data is refused and not cut to fit; a lock is waited for one second and not fifty, and by
#: most statements for less (`held_rows`); who stands still in the middle of a transaction has it
#: ended, so that its rows are free again.
_SESSION = "SET sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = 1, lock_wait_timeout = 30"
_FENCE = "SET wait_timeout = 10"
_READ_ONLY = "SET SESSION TRANSACTION READ ONLY"


def open_engine(url: str, begin: str = "BEGIN IMMEDIATE", seconds: float = _ANSWER_S) -> Engine:
    """Open an engine with the settings that durability rests on.

    SQLite: write-ahead log; `synchronous=FULL`, so that a commit is on disk when it returns;
    `BEGIN IMMEDIATE`, because a deferred begin that reads and then writes fails with BUSY when
    another writer came between. MySQL: read committed, strict, utf8mb4, with times for everything;
    that a commit is on disk is the server's setting (`innodb_flush_log_at_trx_commit=1`).

    Args:
        url: SQLAlchemy URL of one service's database.
        begin: how SQLite's transactions begin; readers take the plain `BEGIN`, a snapshot.
        seconds: how long MySQL may take to answer; a tool that asks for a lot allows more.
    """
    if url.startswith("sqlite"):
        return _open_sqlite(url, begin)
    return _open_mysql(url, "READ COMMITTED", seconds, _SESSION, _FENCE)


def open_reader(url: str, seconds: float = _ANSWER_S) -> Engine:
    """Open an engine for a reader: it takes snapshots and can change nothing."""
    if not url.startswith("sqlite"):
        return _open_mysql(url, "REPEATABLE READ", seconds, _SESSION, _READ_ONLY)
    engine = _open_sqlite(url, "BEGIN")

    @event.listens_for(engine, "connect")
    def _read_only(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


def _open_sqlite(url: str, begin: str) -> Engine:
    pool: dict[str, Any] = {"poolclass": StaticPool} if url == "sqlite://" else {"pool_size": 1}
    connect_args = {"isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, **pool)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={_BUSY_MS}",
            f"journal_size_limit={LOG_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open_mysql(url: str, isolation: Any, seconds: float, *settings: str) -> Engine:
    connect_args = {
        "charset": "utf8mb4",
        "connect_timeout": _CONNECT_S,
        "read_timeout": _ANSWER_S,
        "write_timeout": _ANSWER_S,
        "client_flag": CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
    }
    engine = create_engine(
        url, isolation_level=isolation, connect_args=connect_args, pool_size=1, paramstyle="format"
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: pymysql.Connection, _record: object) -> None:
        for setting in settings:
            connection.cursor().execute(setting)

    @event.listens_for(engine, "checkout")
    def _check_alive(connection: pymysql.Connection, _record: object, _proxy: object) -> None:
        """Replace a connection that was killed while it was idle: that is no outage."""
        set_read_timeout(connection, _ANSWER_S)
        try:
            connection.ping(reconnect=False)
        except pymysql.Error as error:
            raise DisconnectionError from error
        set_read_timeout(connection, seconds)

    return engine
