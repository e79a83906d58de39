"""The ports of group commit: what its logic awaits, and no driver, thread or socket behind it.

`sql_database` and `committer` implement them with SQLAlchemy and a thread. Whatever else does, as a
simulation with a virtual clock, runs the same logic.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from labkit.runtime.clock import Clock
from labkit.runtime.db.row_keys import RowKey

A = TypeVar("A")
J = TypeVar("J")


class CommitClock(Clock, Protocol):
    """The clocks and timers of a process."""

    def call_later(self, seconds: float, work: Callable[[A], None], argument: A) -> None:
        """Call `work(argument)` after so many seconds, without waiting for it."""


class JobQueue(Protocol[J]):
    """The jobs that wait for a database, first in, first out."""

    def put(self, job: J | None) -> None:
        """Add a job; None asks for the end, after all that was put before."""

    async def get(self, timeout: float | None) -> J | None:
        """Take the next job, and wait for one if there is none.

        Raises:
            TimeoutError: none came in so many seconds.
        """

    def size(self) -> int:
        """Return how many jobs wait."""


class Session(Protocol):
    """An open transaction."""

    @property
    def connection(self) -> Connection:
        """Return the connection that it is open on."""

    @property
    def cursor(self) -> DBAPICursor:
        """Return the driver's cursor of the connection."""

    def savepoint(self) -> AbstractContextManager[object]:
        """Open a savepoint for a block, which is rolled back if the block raises."""


class DatabasePort(Protocol):
    """A database on which one transaction at a time is run."""

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction for a block, commit after it, and roll back if the block raises.

        Raises:
            RowHeld: a statement waited too long for a row; the transaction holds nothing any more.
            DBAPIError: the database is away, full or locked.
        """


class RowLocks(Protocol):
    """The row locks of a server, seen from one transaction."""

    def timeout(self, cursor: DBAPICursor, seconds: float | None) -> AbstractContextManager[None]:
        """Bound the time of the statements of a block; without a number, by the server's time."""

    def is_timeout(self, error: Exception) -> bool:
        """Return True if a statement failed because its time was over."""

    def abandon(self, cursor: DBAPICursor) -> Exception:
        """Return the error that ends a transaction whose statement still waits on the server."""

    def is_free(self, key: RowKey, connection: Connection) -> bool:
        """Lock a row without waiting, and return False if somebody else holds it."""
