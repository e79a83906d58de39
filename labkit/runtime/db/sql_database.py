"""The database port on SQLAlchemy: one connection, which stays open between transactions."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from sqlalchemy import Connection, Engine, literal, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

from labkit.runtime.db.compiled import cursor_of
from labkit.runtime.db.errors import ErrorKind, RowHeld, is_unknown_thread, kind_of
from labkit.runtime.db.read_timeout import is_timeout, read_timeout
from labkit.runtime.db.row_keys import RowKey

#: How long a transaction that was killed may take to end, and how often that is looked at.
_END_S, _POLL_S = 1.0, 0.01


class LeftBehind(Exception):
    """The loss of a connection whose statement took too long: its transaction is still there.

    Attributes:
        thread: the server's number of the connection.
    """

    def __init__(self, thread: int) -> None:
        super().__init__("a row that it needs is held by another transaction; ask again")
        self.thread = thread


class SqlSession:
    """An open transaction on a connection.

    Attributes:
        connection: the connection.
        cursor: the driver's cursor.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cursor = cursor_of(connection)

    def savepoint(self) -> AbstractContextManager[object]:
        """Open a savepoint for a block."""
        return _savepoint(self.connection)


class SqlTransaction:
    """A transaction for a block: committed after it, rolled back if it raises.

    It is no generator, because it is begun for every group.

    Args:
        database: the database.
    """

    def __init__(self, database: "SqlDatabase") -> None:
        self._database = database

    async def __aenter__(self) -> SqlSession:
        self._connection = self._database.take_connection()
        try:
            self._transaction = self._connection.begin()
            return SqlSession(self._connection)
        except BaseException as error:
            discard(self._connection, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection = self._connection
        try:
            if isinstance(error, LeftBehind):  # it can roll nothing back
                connection.invalidate()
            self._transaction.__exit__(kind, error, traceback)
        except BaseException as failure:
            discard(connection, failure)
            raise
        if error is None:
            self._database.keep_connection(connection)
            return
        discard(connection, error)
        if isinstance(error, LeftBehind):
            self._database.end_left_behind(error.thread)
            raise RowHeld(str(error)) from error


class SqlDatabase:
    """A database behind one connection at a time.

    Args:
        engine: the engine that opens connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def transaction(self) -> SqlTransaction:
        """Run a block in a transaction; one that waits too long for a row is ended."""
        return SqlTransaction(self)

    def take_connection(self) -> Connection:
        """Return the connection that was kept, or a new one."""
        connection, self._connection = self._connection or self._engine.connect(), None
        return connection

    def keep_connection(self, connection: Connection) -> None:
        """Keep a connection open for the next transaction."""
        self._connection = connection

    def end_left_behind(self, thread: int) -> None:
        """End a transaction whose connection is lost, so that it holds nothing.

        Raises:
            DBAPIError: the server is away.
        """
        with self._engine.connect() as connection:
            try:
                connection.exec_driver_sql(f"KILL {thread}")
            except DBAPIError as error:
                if not is_unknown_thread(error):
                    raise
            there = f"SELECT 1 FROM information_schema.processlist WHERE id = {thread}"
            deadline = time.monotonic() + _END_S
            while connection.exec_driver_sql(there).first() and time.monotonic() < deadline:
                time.sleep(_POLL_S)

    def close(self) -> None:
        """Close the connection and the engine."""
        if self._connection:
            self._connection.close()
        self._engine.dispose()


class SqlRowLocks:
    """The row locks of MySQL, which counts its own lock wait in whole seconds.

    A shorter wait is kept here, by no longer reading from the connection; the transaction that is
    left behind is ended on another one.
    """

    def timeout(self, cursor: DBAPICursor, seconds: float | None) -> AbstractContextManager[None]:
        """Bound the time of the statements of a block."""
        return read_timeout(cursor.connection, seconds)

    def is_timeout(self, error: Exception) -> bool:
        """Return True if a statement failed because its time was over."""
        return isinstance(error, DBAPIError) and is_timeout(error)

    def abandon(self, cursor: DBAPICursor) -> Exception:
        """Return the error that ends the transaction."""
        return LeftBehind(cursor.connection.thread_id())

    def is_free(self, key: RowKey, connection: Connection) -> bool:
        """Lock a row without waiting; it stays locked for this transaction if it was free."""
        query = select(literal(1)).select_from(key.table).where(*key.conditions)
        try:
            connection.execute(query.with_for_update(nowait=True))
        except DBAPIError as error:
            if kind_of(error) is ErrorKind.HELD:
                return False
            raise
        return True


def discard(connection: Connection, error: BaseException) -> None:
    """Close a connection after an error; a lost one is not used again."""
    if kind_of(error) is ErrorKind.LOST:
        connection.invalidate()
    connection.close()


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Roll back to a savepoint if a block raises; a connection that was left behind cannot."""
    with connection.begin_nested():
        try:
            yield
        except LeftBehind:
            connection.invalidate()
            raise
