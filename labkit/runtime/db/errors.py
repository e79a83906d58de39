"""Errors of the database: what each says about trying again.

SQLite and MySQL (or MariaDB) are asked for the same: an error tells whether the step, the moment or
the server is to blame.
"""

import sqlite3
from enum import Enum

from sqlalchemy.exc import DBAPIError

_DUPLICATE = 1062
_DEADLOCK = 1213
_HELD = {1205, 3572}  # waited for too long, or not at all (MySQL's own number for NOWAIT)
_NO_SUCH_THREAD = 1094
#: The connection or the statement is gone: killed, timed out, the server stopping.
_LOST = {0, 1053, 1152, 1158, 1159, 1160, 1161, 1180, 1317, 1927, 2006, 2013, 2055, 4031}
#: The server cannot work: its disk or a table is full, it has too many connections, or it is
#: read-only.
_UNABLE = {3, 1021, 1030, 1040, 1041, 1114, 1129, 1130, 1135, 1203, 1226, 1290, 1836}
#: The server cannot be reached, or lets nobody in (the account is locked: 3118 in MySQL, 4151 in
#: MariaDB).
_UNREACHABLE = {1044, 1045, 1049, 2002, 2003, 2005, 3118, 4151}
_AWAY = _UNABLE | _UNREACHABLE


class RowHeld(Exception):
    """The refusal of a step because another transaction holds a row that it needs.

    Nothing of the step was done.
    """


class ErrorKind(Enum):
    """The kinds of errors of a database, by what they say about trying again."""

    OWN = "the step's own error: it would come again for ever"
    BUSY = "all of the database is locked: the same may succeed soon"
    DEADLOCK = "two waited for each other: alone, or again, each comes through"
    LOST = "the connection is gone: what was being committed is unknown"
    HELD = "somebody held a row for too long: a matter of those who need that row"
    AWAY = "the database is away or full"


def kind_of(error: BaseException) -> ErrorKind:
    """Return what an error says about trying again."""
    if isinstance(error, RowHeld):
        return ErrorKind.HELD
    if not isinstance(error, DBAPIError):
        return ErrorKind.OWN
    if isinstance(error.orig, sqlite3.Error):
        return _kind_in_sqlite(error.orig)
    number = _number(error)
    if number == _DEADLOCK or number in _HELD:
        return ErrorKind.DEADLOCK if number == _DEADLOCK else ErrorKind.HELD
    if number in _LOST or error.connection_invalidated:
        return ErrorKind.LOST
    return ErrorKind.AWAY if number in _AWAY else ErrorKind.OWN


def is_away(error: BaseException) -> bool:
    """Return True if a database is away, full or locked as a whole: no step can be run."""
    return kind_of(error) in (ErrorKind.BUSY, ErrorKind.LOST, ErrorKind.AWAY)


def is_held(error: BaseException) -> bool:
    """Return True if a row is held by another transaction: steps about other rows can be run."""
    return kind_of(error) in (ErrorKind.HELD, ErrorKind.DEADLOCK)


def is_unknown_thread(error: DBAPIError) -> bool:
    """Return True if MySQL knows no connection of the number that was to be killed."""
    return bool(_number(error) == _NO_SUCH_THREAD)


def is_duplicate(error: DBAPIError) -> bool:
    """Return True if MySQL refused a row because its key is there already."""
    return bool(_number(error) == _DUPLICATE)


def _kind_in_sqlite(error: sqlite3.Error) -> ErrorKind:
    # SQLite calls wrong SQL an operational error too, and that would be wrong for ever.
    if "locked" in str(error):
        return ErrorKind.BUSY
    code = getattr(error, "sqlite_errorcode", None)
    away = isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR
    return ErrorKind.AWAY if away else ErrorKind.OWN


def _number(error: DBAPIError) -> object:
    """Return the number that MySQL gives an error; 0 if the driver finds its connection closed."""
    args = getattr(error.orig, "args", ())
    return args[0] if args else None
