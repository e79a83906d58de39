"""Rows that somebody's open transaction holds: who needs one is told soon, and nobody behind waits.

A server that locks rows lets a statement wait for a row, and with it the one thread that commits
all steps of a service. So a statement gets a fraction of the time of a call. A row that took longer
is suspected from then on: before the next statement about it the server is asked for the row
without waiting (`NOWAIT`), which takes no time where it is still held.

MySQL counts its own lock wait in whole seconds. The shorter one is kept here, by no longer reading
from the connection; the transaction that is left behind is ended on another one.

Whoever holds one row of a table may hold them all, as a change by hand does. If each took that
time once, they would stop everybody together. So after the first all rows of its table are asked
for.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, literal, select
from sqlalchemy.exc import DBAPIError

from labkit.runtime.db.engines import RowHeld, Trouble, is_held, is_no_thread, trouble
from labkit.runtime.db.row_keys import RowKey

_PATIENCE_S = 0.4
_REFUSED_S = 0.05  # so long after a refusal nobody asks for the row again
_SUSPECTED_S = 10.0  # so long after it was needed last
_MOST_SUSPECTED = 10_000  # rows that are known one by one
_ENDED_S, _LOOK_S = 1.0, 0.01


class LeftBehind(Exception):
    """A statement took too long: its connection is lost, its transaction is still there.

    Attributes:
        thread: the server's number of the connection.
    """

    def __init__(self, thread: int) -> None:
        super().__init__("a row that it needs is held by another transaction; ask again")
        self.thread = thread


class HeldRows:
    """The rows that one committer suspects, on a server that locks rows."""

    def __init__(self) -> None:
        self._until: dict[RowKey, float] = {}  # until then a suspected row is refused unasked
        self._tables: dict[Table, float] = {}  # until then each row of it is asked for
        self._needed = 0.0

    def __bool__(self) -> bool:
        now = time.monotonic()
        if now - self._needed > _SUSPECTED_S or len(self._until) > _MOST_SUSPECTED:
            self._until.clear()
        if self._tables:
            self._tables = {table: until for table, until in self._tables.items() if now < until}
        return bool(self._until or self._tables)

    @contextmanager
    def about(self, key: RowKey | None, connection: Connection, cursor: Any) -> Iterator[None]:
        """Run a statement that locks a row, in a block.

        Args:
            key: of the row; None where that is not known.
            connection: inside the transaction.
            cursor: the driver's.

        Raises:
            RowHeld: the row is held.
            LeftBehind: it may be.
        """
        if key and (key in self._until or key.table in self._tables):
            self._take(key, connection)
        with self.in_time(cursor, [key]):
            yield

    @contextmanager
    def in_time(self, cursor: Any, keys: Sequence[RowKey | None]) -> Iterator[None]:
        """Suspect the rows of statements that wait for too long.

        One that names no row may have a lot to do, and has the time that the server gives.

        Raises:
            LeftBehind: they did.
        """
        driver = cursor.connection
        patience = driver._read_timeout  # there is no public way
        driver._read_timeout = _PATIENCE_S if all(keys) else patience
        try:
            yield
        except DBAPIError as error:
            late = isinstance(getattr(error.orig, "__context__", None), TimeoutError)
            if late or is_held(error):
                self._suspect(keys)
            if late and all(keys):
                raise LeftBehind(driver.thread_id()) from error
            raise
        finally:
            driver._read_timeout = patience

    def _suspect(self, keys: Sequence[RowKey | None]) -> None:
        self._needed = time.monotonic()
        for key in keys:
            if key:
                self._until[key] = 0.0
                self._tables[key.table] = self._needed + _SUSPECTED_S

    def _take(self, key: RowKey, connection: Connection) -> None:
        """Lock a suspected row without waiting for it.

        Raises:
            RowHeld: it is held still.
        """
        now = time.monotonic()
        if self._until.get(key, 0.0) < now:
            if _is_free(key, connection):
                self._until.pop(key, None)
                return
            self._suspect([key])
            self._until[key] = now + _REFUSED_S
        raise RowHeld(f"{key} is held by another transaction; ask again")


def end_left_behind(engine: Engine, thread: int) -> None:
    """End a transaction whose connection is lost, so that it holds nothing.

    Raises:
        DBAPIError: the server is away.
    """
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql(f"KILL {thread}")
        except DBAPIError as error:
            if not is_no_thread(error):
                raise
        there = f"SELECT 1 FROM information_schema.processlist WHERE id = {thread}"
        deadline = time.monotonic() + _ENDED_S
        while connection.exec_driver_sql(there).first() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


def _is_free(key: RowKey, connection: Connection) -> bool:
    """Ask for a row; it stays locked for this transaction where it was free."""
    found = select(literal(1)).select_from(key.table).where(*key.conditions)
    try:
        connection.execute(found.with_for_update(nowait=True))
    except DBAPIError as error:
        if trouble(error) is Trouble.HELD:
            return False
        raise
    return True
