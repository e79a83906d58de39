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

from labkit.ops.reader import DATABASES
from labkit.runtime.db.database import QueuedDatabase, answer_all
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.job import Job, TransactionDefaults
from labkit.sim.clocks import SimClock
from labkit.sim.loop import SimLoop, wake
from labkit.sim.process import Process

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
        writing: the transaction that writes, while it is open.
        tables: names of all tables.
    """

    def __init__(self, service: str) -> None:
        self.uri = f"file:labkit-{service}-{next(_numbers)}?mode=memory&cache=shared"
        self.raw = sqlite3.connect(
            self.uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=500
        )
        self.engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        self.connection: Connection = self.engine.connect()
        self.after_commit: Callable[[str], None] = _pass
        self.writing: SimTransaction | None = None
        self.tables = [table.name for table in DATABASES[service]]
        self._service = service

    def begin_life(self) -> None:
        """Begin what `end_life` forgets."""
        self.raw.execute("BEGIN")

    def end_life(self) -> None:
        """Go back to the first data."""
        self.after_commit, self.writing = _pass, None
        self.raw.rollback()

    def committed(self, changes: int) -> None:
        """Call `after_commit` if more rows have changed than so many."""
        if self.raw.total_changes > changes:
            self.after_commit(self._service)

    def end_of(self, dead: Process) -> None:
        """Roll back what a process that died had open."""
        if self.writing and self.writing.process is dead:
            self.writing.end(is_kept=False)


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

    Nothing waits within it but a stall. Then others begin while it is open, and meet what they meet
    on SQLite: who writes waits for its end, who reads sees nothing of it.

    Args:
        disk: the database.
        process: whose transaction it is.
        reads: whether it only reads.
    """

    __slots__ = ("_changes", "_disk", "_end", "_reads", "_set_aside", "process")

    def __init__(self, disk: SimDisk, process: Process, *, reads: bool) -> None:
        self.process = process
        self._disk = disk
        self._reads = reads
        self._end: asyncio.Future[None] | None = None
        self._set_aside: dict[str, list[tuple[object, ...]]] = {}

    async def __aenter__(self) -> SimSession:
        while stalled := self._disk.writing:
            if self._reads:
                stalled.set_aside()
                break
            await stalled.wait_for_end()
        if not self._reads:
            self._disk.writing = self
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
        if self._reads or self._disk.writing is self:  # it has not ended with its process
            self.end(is_kept=error is None)

    def end(self, *, is_kept: bool) -> None:
        """Commit, or roll back."""
        if not is_kept:
            self._disk.raw.execute("ROLLBACK TO step")
        for table, rows in self._set_aside.items():
            if is_kept:
                self._put_back(table, rows)
        self._disk.raw.execute("RELEASE step")
        if self._reads:
            return
        self._disk.writing = None
        if self._end:
            wake(self._end)
        if is_kept:
            self._disk.committed(self._changes)

    def set_aside(self) -> None:
        """Take back what it has written until it ends, so that nobody sees it."""
        if not self._set_aside:
            for table in self._disk.tables:
                rows = self._disk.raw.execute(f"SELECT * FROM {table}").fetchall()
                self._set_aside[table] = rows
            self._disk.raw.execute("ROLLBACK TO step")

    async def wait_for_end(self) -> None:
        """Wait until it was committed or rolled back."""
        self._end = self._end or asyncio.get_running_loop().create_future()
        await asyncio.shield(self._end)

    def _put_back(self, table: str, rows: list[tuple[object, ...]]) -> None:
        raw = self._disk.raw
        if rows != raw.execute(f"SELECT * FROM {table}").fetchall():
            raw.execute(f"DELETE FROM {table}")
            if rows:
                values = ", ".join("?" * len(rows[0]))
                raw.executemany(f"INSERT INTO {table} VALUES ({values})", rows)


class SimDatabase:
    """The port `DatabasePort`: a disk as one process has it open, to write or to read.

    Args:
        disk: the disk.
        process: the process.
        reads: whether it only reads.
    """

    def __init__(self, disk: SimDisk, process: Process, *, reads: bool) -> None:
        self._disk = disk
        self._process = process
        self._reads = reads

    def transaction(self) -> SimTransaction:
        """Run a block in a transaction."""
        return SimTransaction(self._disk, self._process, reads=self._reads)


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
    disk: SimDisk, process: Process, defaults: TransactionDefaults, loop: SimLoop, clock: SimClock
) -> QueuedDatabase:
    """Open a database as one process has it open.

    Args:
        disk: what it lies on.
        process: the process.
        defaults: what every transaction is given.
        loop: the loop.
        clock: of the process.
    """

    def begin(*, reads: bool) -> GroupCommit:
        database = SimDatabase(disk, process, reads=reads)
        commits = GroupCommit(database, SimQueue(loop), clock, defaults, answer_all)
        loop.create_task(commits.serve())
        return commits

    process.at_death(lambda: disk.end_of(process))
    return QueuedDatabase(writer=begin(reads=False), reader=begin(reads=True))
