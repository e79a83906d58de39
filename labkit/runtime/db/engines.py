"""Databases, as far as they differ: how one is opened, and what its errors mean.

SQLite and MySQL (or MariaDB) are asked for the same: a commit that returned is on disk, a reader
sees one moment, and an error says whether the step, the moment or the server is to blame.
"""

import sqlite3
from enum import Enum
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import StaticPool

_BUSY_MS = 2000
#: To this SQLite cuts its write-ahead log, which a reader who stayed has made longer; about as long
#: it is in any case before what it holds is copied into the database.
LOG_BYTES = 4_000_000
#: Seconds that a MySQL server has to be reached, and to answer; there is no limit by default.
_REACH_SECONDS, _ANSWER_SECONDS = 2, 5.0
#: Wrong data is refused and not cut to fit; a lock is waited for one second and not fifty, and by
#: most statements for less (`held_rows`); who stands still in the middle of a transaction has it
#: ended, so that its rows are free again.
_SESSION = "SET sql_mode = 'TRADITIONAL', innodb_lock_wait_timeout = 1, lock_wait_timeout = 30"
_FENCE = "SET wait_timeout = 10"
_ONLY_LOOK = "SET SESSION TRANSACTION READ ONLY"

_DUPLICATE = 1062
_DEADLOCK = 1213
_HELD = {1205, 3572}  # waited for too long, or not at all (MySQL's own number for NOWAIT)
_NO_SUCH_THREAD = 1094
#: The connection or the statement is gone: killed, timed out, the server stopping.
_LOST = {0, 1053, 1152, 1158, 1159, 1160, 1161, 1180, 1317, 1927, 2006, 2013, 2055, 4031}
#: The server cannot be reached, lets nobody in (the account is locked: 3118 in MySQL, 4151 in
#: MariaDB) or cannot work: its disk or a table is full.
_AWAY = {
    3,
    1021,
    1030,
    1040,
    1041,
    1044,
    1045,
    1049,
    1114,
    1129,
    1130,
    1135,
    1203,
    1226,
    1290,
    1836,
    2002,
    2003,
    2005,
    3118,
    4151,
}


class RowHeld(Exception):
    """A row that a step needs is held by another transaction: nothing of the step was done."""


class Trouble(Enum):
    """What an error of the database says about trying again."""

    NONE = "the step's own error: it would come again for ever"
    BUSY = "all of the database is locked: the same may succeed soon"
    DEADLOCK = "two waited for each other: alone, or again, each comes through"
    LOST = "the connection is gone: what was being committed is unknown"
    HELD = "somebody held a row for too long: a matter of those who need that row"
    AWAY = "the database is away or full"


def open_engine(
    url: str, begin: str = "BEGIN IMMEDIATE", seconds: float = _ANSWER_SECONDS
) -> Engine:
    """An engine with the settings that durability rests on.

    SQLite: write-ahead log; `synchronous=FULL`, so that a commit is on disk when it returns;
    `BEGIN IMMEDIATE`, because a deferred begin that reads and then writes fails with BUSY when
    another writer came between. MySQL: read committed, strict, utf8mb4, with times for everything;
    that a commit is on disk is the server's setting (`innodb_flush_log_at_trx_commit=1`).

    Args:
        url: SQLAlchemy URL of one service's database.
        begin: how SQLite's transactions begin; readers take the plain `BEGIN`, a snapshot.
        seconds: that MySQL has to answer; a tool that asks for a lot gives more.
    """
    if url.startswith("sqlite"):
        return _open_sqlite(url, begin)
    return _open_mysql(url, "READ COMMITTED", seconds, _SESSION, _FENCE)


def open_reader(url: str, seconds: float = _ANSWER_SECONDS) -> Engine:
    """An engine for who only looks: it takes snapshots and can change nothing."""
    if not url.startswith("sqlite"):
        return _open_mysql(url, "REPEATABLE READ", seconds, _SESSION, _ONLY_LOOK)
    engine = _open_sqlite(url, "BEGIN")

    @event.listens_for(engine, "connect")
    def _only_look(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


def trouble(error: BaseException) -> Trouble:
    """What an error says about trying again."""
    if isinstance(error, RowHeld):
        return Trouble.HELD
    if not isinstance(error, DBAPIError):
        return Trouble.NONE
    if isinstance(error.orig, sqlite3.Error):
        return _trouble_of_sqlite(error.orig)
    number = _number(error)
    if number == _DEADLOCK or number in _HELD:
        return Trouble.DEADLOCK if number == _DEADLOCK else Trouble.HELD
    if number in _LOST or error.connection_invalidated:
        return Trouble.LOST
    return Trouble.AWAY if number in _AWAY else Trouble.NONE


def is_away(error: BaseException) -> bool:
    """Return True if a database is away, full or locked as a whole: no step can be run."""
    return trouble(error) in (Trouble.BUSY, Trouble.LOST, Trouble.AWAY)


def is_held(error: BaseException) -> bool:
    """Return True if a row is held by another transaction: steps about other rows can be run."""
    return trouble(error) in (Trouble.HELD, Trouble.DEADLOCK)


def is_no_thread(error: DBAPIError) -> bool:
    """Return True if MySQL knows no connection of the number that was to be killed."""
    return bool(_number(error) == _NO_SUCH_THREAD)


def is_duplicate(error: DBAPIError) -> bool:
    """Whether MySQL refused a row because its key is there already."""
    return bool(_number(error) == _DUPLICATE)


def _open_sqlite(url: str, begin: str) -> Engine:
    pool: Any = {"poolclass": StaticPool} if url == "sqlite://" else {"pool_size": 1}
    connect_args = {"isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, **pool)

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={_BUSY_MS}",
            f"journal_size_limit={LOG_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _open_mysql(url: str, isolation: Any, seconds: float, *settings: str) -> Engine:
    connect_args = {
        "charset": "utf8mb4",
        "connect_timeout": _REACH_SECONDS,
        "read_timeout": _ANSWER_SECONDS,
        "write_timeout": _ANSWER_SECONDS,
        "client_flag": CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
    }
    engine = create_engine(
        url, isolation_level=isolation, connect_args=connect_args, pool_size=1, paramstyle="format"
    )

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        for setting in settings:
            connection.cursor().execute(setting)

    @event.listens_for(engine, "checkout")
    def _see_alive(connection: Any, _record: Any, _proxy: Any) -> None:
        """One that was killed while it lay idle is no outage; a server that stands still is."""
        connection._read_timeout = _ANSWER_SECONDS  # there is no public way
        try:
            connection.ping(reconnect=False)
        except pymysql.Error as error:
            raise DisconnectionError from error
        connection._read_timeout = seconds

    return engine


def _trouble_of_sqlite(error: sqlite3.Error) -> Trouble:
    """SQLite calls wrong SQL an operational error too, and that would be wrong for ever."""
    if "locked" in str(error):
        return Trouble.BUSY
    code = getattr(error, "sqlite_errorcode", None)
    away = isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR
    return Trouble.AWAY if away else Trouble.NONE


def _number(error: DBAPIError) -> Any:
    """The number that MySQL gives an error; 0 where the driver finds its connection closed."""
    args = getattr(error.orig, "args", ())
    return args[0] if args else None
