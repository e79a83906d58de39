"""Simulated disks: a database in memory for each service, which outlives the service's processes.

It is a real SQLite, on which the shop's own SQL runs. A transaction is a savepoint of one that
never ends: so a commit costs microseconds, and a life ends by rolling all of it back. A process
that dies within a transaction leaves nothing of it; what was committed stays.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from types import TracebackType

from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.engine.interfaces import DBAPICursor

from labkit.runtime.db.database import QueuedDatabase, answer_all
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.job import Job, TransactionDefaults
from labkit.sim.clocks import SimClock
from labkit.sim.loop import SimLoop, wake

_COMMIT_S = 0.001  # from a step that is asked for to its commit; what comes meanwhile goes with it
_numbers = count(1)


class SimDisk:
    """The database of one service.

    Args:
        service: name of the service.

    Attributes:
        uri: by which another connection of this process reads it, also what is not committed.
        connection: SQLAlchemy's connection.
        after_commit: called after each commit that changed a row, with the service's name.
    """

    def __init__(self, service: str) -> None:
        self.uri = f"file:labkit-{service}-{next(_numbers)}?mode=memory&cache=shared"
        self.raw = sqlite3.connect(
            self.uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=500
        )
        self.engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        self.connection: Connection = self.engine.connect()
        self.after_commit: Callable[[str], None] = _pass
        self._service = service

    def begin_life(self) -> None:
        """Begin what `end_life` forgets."""
        self.raw.execute("BEGIN")

    def end_life(self) -> None:
        """Go back to the first data."""
        self.after_commit = _pass
        self.raw.rollback()

    def committed(self, changes: int) -> None:
        """Call `after_commit` if more rows have changed than so many."""
        if self.raw.total_changes > changes:
            self.after_commit(self._service)

    def transaction(self) -> "SimTransaction":
        """Run a block in a transaction; nothing else runs meanwhile."""
        return SimTransaction(self)


class SimSession:
    """An open transaction."""

    __slots__ = ("connection", "cursor")

    def __init__(self, connection: Connection, cursor: DBAPICursor) -> None:
        self.connection = connection
        self.cursor = cursor

    def savepoint(self) -> AbstractContextManager[object]:
        """Refuse: steps have savepoints only on a server that locks rows."""
        raise NotImplementedError


class SimTransaction:
    """A transaction for a block: committed after it, rolled back if it raises.

    Args:
        disk: the database.
    """

    __slots__ = ("_changes", "_disk")

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    async def __aenter__(self) -> SimSession:
        self._changes = self._disk.raw.total_changes
        self._disk.raw.execute("SAVEPOINT step")
        cursor: DBAPICursor = self._disk.raw.cursor()  # type: ignore[assignment]  # sqlite3's is one
        return SimSession(self._disk.connection, cursor)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._disk.raw.execute("ROLLBACK TO step")
        self._disk.raw.execute("RELEASE step")
        if error is None:
            self._disk.committed(self._changes)


class SimQueue:
    """The queue of jobs of one database, in virtual time.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._jobs: deque[Job | None] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, job: Job | None) -> None:
        """Add a job; who waits for one takes it when the disk has turned."""
        self._jobs.append(job)
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            self._loop.call_later(_COMMIT_S, wake, waiting)

    async def get(self, timeout: float | None) -> Job | None:
        """Take the next job; there is never a time to wait for, because no row is held."""
        assert timeout is None
        if not self._jobs:
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._jobs.popleft()

    def size(self) -> int:
        """Return how many jobs wait."""
        return len(self._jobs)


def _pass(_service: str) -> None:
    """Do nothing."""


def open_database(
    disk: SimDisk, defaults: TransactionDefaults, loop: SimLoop, clock: SimClock
) -> QueuedDatabase:
    """Open a database as one process has it open.

    Args:
        disk: what it lies on.
        defaults: what every transaction is given.
        loop: the loop.
        clock: of the process.
    """

    def begin() -> GroupCommit:
        commits = GroupCommit(disk, SimQueue(loop), clock, defaults, answer_all)
        loop.create_task(commits.serve())
        return commits

    return QueuedDatabase(writer=begin(), reader=begin())
