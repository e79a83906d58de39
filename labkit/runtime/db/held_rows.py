"""Rows that somebody's open transaction holds: a step that needs one is refused soon.

A server that locks rows lets a statement wait for a row, and with it the one thread that commits
all steps of a service. So a statement gets a fraction of the time of a call. A row that took longer
is suspected from then on: before the next statement about it the server is asked for the row
without waiting (`NOWAIT`), which takes no time if it is still held.

Whoever holds one row of a table may hold them all, as a change by hand does. If each took that
time once, they would stop everybody together. So after the first all rows of its table are asked
for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Table
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

from labkit.runtime.clock import Clock
from labkit.runtime.db.errors import RowHeld, is_held
from labkit.runtime.db.ports import RowLocks
from labkit.runtime.db.row_keys import RowKey

#: How long a statement waits for a row.
_PATIENCE_S = 0.4
#: How long after a refusal nobody asks for the row again.
_REFUSED_S = 0.05
#: How long after it was needed last a row is suspected.
_SUSPECTED_S = 10.0
#: How many rows are suspected one by one.
_MAX_SUSPECTED = 10_000


class HeldRows:
    """The rows that one committer suspects to be held.

    Args:
        locks: the row locks of the server.
        clock: of the process.
    """

    def __init__(self, locks: RowLocks, clock: Clock) -> None:
        self._locks = locks
        self._clock = clock
        self._refused_until: dict[RowKey, float] = {}
        self._suspected_tables: dict[Table, float] = {}  # table → until when
        self._needed_at = 0.0

    def __bool__(self) -> bool:
        now = self._clock.monotonic()
        is_long_ago = now - self._needed_at > _SUSPECTED_S
        if is_long_ago or len(self._refused_until) > _MAX_SUSPECTED:
            self._refused_until.clear()
        if self._suspected_tables:
            tables = self._suspected_tables.items()
            self._suspected_tables = {table: until for table, until in tables if now < until}
        return bool(self._refused_until or self._suspected_tables)

    @contextmanager
    def about(
        self, key: RowKey | None, connection: Connection, cursor: DBAPICursor
    ) -> Iterator[None]:
        """Run a statement that locks a row, in a block.

        Args:
            key: key of the row; None if it is not known.
            connection: the connection, inside the transaction.
            cursor: the driver's cursor.

        Raises:
            RowHeld: the row is held.
            Exception: the row may be held, and the transaction must end; see `RowLocks.abandon`.
        """
        if key and (key in self._refused_until or key.table in self._suspected_tables):
            self._take(key, connection)
        with self.in_time(cursor, [key]):
            yield

    @contextmanager
    def in_time(self, cursor: DBAPICursor, keys: Sequence[RowKey | None]) -> Iterator[None]:
        """Suspect the rows of statements that wait for too long, in a block.

        One that names no row may have a lot to do, and has the time that the server gives.

        Raises:
            Exception: a statement waited too long; see `RowLocks.abandon`.
        """
        is_bounded = all(keys)
        with self._locks.timeout(cursor, _PATIENCE_S if is_bounded else None):
            try:
                yield
            except DBAPIError as error:
                is_late = self._locks.is_timeout(error)
                if is_late or is_held(error):
                    self._suspect(keys)
                if is_late and is_bounded:
                    raise self._locks.abandon(cursor) from error
                raise

    def _suspect(self, keys: Sequence[RowKey | None]) -> None:
        self._needed_at = self._clock.monotonic()
        for key in keys:
            if key:
                self._refused_until[key] = 0.0
                self._suspected_tables[key.table] = self._needed_at + _SUSPECTED_S

    def _take(self, key: RowKey, connection: Connection) -> None:
        """Lock a suspected row without waiting for it.

        Raises:
            RowHeld: it is held still.
        """
        now = self._clock.monotonic()
        if self._refused_until.get(key, 0.0) < now:
            if self._locks.is_free(key, connection):
                self._refused_until.pop(key, None)
                return
            self._suspect([key])
            self._refused_until[key] = now + _REFUSED_S
        raise RowHeld(f"{key} is held by another transaction; ask again")
