"""The database runner: what business code awaits to have a step run and committed.

Steps are queued; one thread an instance commits them in groups, another one answers what only
reads. Business code never sees a connection, a commit, or a lock that had to be waited for.
"""

import asyncio
import sqlite3
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from labkit.runtime import tracing
from labkit.runtime.committer import Committer
from labkit.runtime.steps import Step
from labkit.runtime.work import Context, Ends, Work

A = TypeVar("A")

_BUSY_MS = 2000


def open_engine(url: str, begin: str = "BEGIN IMMEDIATE") -> Engine:
    """An engine with the settings that durability rests on.

    SQLite: write-ahead log; `synchronous=FULL`, so that a commit is on disk when it returns;
    `BEGIN IMMEDIATE`, because a deferred begin that reads and then writes fails with BUSY when
    another writer came between.

    Args:
        url: SQLAlchemy URL of one service's database.
        begin: how transactions begin; readers take the plain `BEGIN`, a snapshot.
    """
    pool: Any = {"poolclass": StaticPool} if url == "sqlite://" else {"pool_size": 1}
    connect_args = {"isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, **pool)

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def open_reader(url: str) -> Engine:
    """An engine for who only looks: it takes snapshots and can change nothing."""
    engine = open_engine(url, "BEGIN")

    @event.listens_for(engine, "connect")
    def _only_look(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


def is_away(error: Exception) -> bool:
    """Whether an error says that the database is away, full or locked: none of the step's doing.

    SQLite calls wrong SQL an operational error too, and that would be wrong for ever.
    """
    if not isinstance(error, OperationalError):
        return False
    return getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


class Database:
    """Runs the steps of one service process on its database.

    Args:
        url: SQLAlchemy URL.
        context: clocks, ids, failpoints and the outbox.
    """

    def __init__(self, url: str, context: Context) -> None:
        self._writer = Committer(open_engine(url), context, self._deliver)
        self._reader = Committer(open_engine(url, "BEGIN"), context, self._deliver)

    async def run(self, step: Step[Any, A], command: Any) -> A:
        """Run a step and commit; the same as `ask`, for whoever waits as long as it takes."""
        return await self.ask(step, command)

    def ask(
        self, step: Step[Any, A], command: Any, expires: float = float("inf")
    ) -> "asyncio.Future[A]":
        """Have a step run and committed.

        Args:
            step: the step.
            command: what it is asked to do.
            expires: when nobody waits for it any more (monotonic clock); then it is not begun.

        Returns:
            A future of the step's answer, after the commit. It may raise what the step raised,
            `OperationalError` where the database is away, full, or locked for too long, and
            `Refused` where a failpoint refused a step that has no code for that.

        Raises:
            Overloaded: too many steps wait already.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._worker(step).put(Work(step, command, answer, expires, tracing.inject()), bounded=True)
        return answer

    def submit(self, step: Step[Any, A], command: Any, trace: str = "") -> "Future[A]":
        """The same from a thread that waits for what it submits, so that it bounds itself."""
        answer: Future[A] = Future()
        self._worker(step).put(Work(step, command, answer, trace=trace), bounded=False)
        return answer

    def close(self) -> None:
        """Finish what was queued and close."""
        self._writer.close()
        self._reader.close()

    def _worker(self, step: Step[Any, Any]) -> Committer:
        return self._reader if step.reads else self._writer

    def _deliver(self, ends: Ends) -> None:
        """Hand out the answers of a group, from the committer's thread: the loop is woken once."""
        for_loop = [end for end in ends if isinstance(end[0].answer, asyncio.Future)]
        if for_loop:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                for_loop[0][0].answer.get_loop().call_soon_threadsafe(_settle_all, for_loop)
        _settle_all([end for end in ends if isinstance(end[0].answer, Future)])


def _settle_all(ends: Ends) -> None:
    for work, end in ends:
        with suppress(asyncio.InvalidStateError, InvalidStateError):  # whoever waited has gone
            if isinstance(end, StopIteration):  # which no future takes: it would end its waiter
                work.answer.set_exception(RuntimeError(f"a step raised {end!r}"))
            elif isinstance(end, Exception):
                work.answer.set_exception(end)
            else:
                work.answer.set_result(end)
