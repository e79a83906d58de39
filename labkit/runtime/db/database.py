"""The database of one service process: business code awaits it to have a step run and committed.

Steps are queued; one thread of an instance commits them in groups, another one runs those that only
read. Business code never sees a connection, a commit, or a lock that had to be waited for.
"""

import asyncio
from contextlib import suppress
from typing import Protocol, TypeVar

from labkit.runtime.db.committer import Committer
from labkit.runtime.db.engines import open_engine, open_reader
from labkit.runtime.db.job import Job, JobResults, TransactionDefaults
from labkit.runtime.db.sql_database import SqlDatabase
from labkit.runtime.steps import AnyStep, Step
from labkit.runtime.telemetry import tracing

A = TypeVar("A")
C = TypeVar("C")


class Commits(Protocol):
    """Commits the steps that are put to it."""

    def put(self, job: Job, *, bounded: bool) -> None:
        """Add a job: see `GroupCommit.put`."""
        ...

    def close(self) -> None:
        """Finish what was queued and close."""
        ...


class QueuedDatabase:
    """The port `StepDatabase`, on what commits steps that write and what runs those that read.

    One event loop asks it, whichever that is.

    Args:
        writer: commits the steps that write.
        reader: runs those that only read.
    """

    def __init__(self, writer: Commits, reader: Commits) -> None:
        self._writer = writer
        self._reader = reader

    async def run(self, step: Step[C, A], command: C) -> A:
        """Run a step and commit, like `ask`, and wait as long as it takes."""
        return await self.ask(step, command)

    def ask(
        self,
        step: Step[C, A],
        command: C,
        expires: float = float("inf"),
        *,
        behind_writes: bool = False,
        bounded: bool = True,
    ) -> "asyncio.Future[A]":
        """Queue a step to be run and committed, as `StepRunner.ask` has it."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        committer = self._writer if behind_writes else self._committer_of(step)
        committer.put(Job(step, command, answer, expires, tracing.inject()), bounded=bounded)
        return answer

    def close(self) -> None:
        """Finish what was queued and close."""
        self._writer.close()
        self._reader.close()

    def _committer_of(self, step: AnyStep) -> Commits:
        return self._reader if step.reads else self._writer


class Database(QueuedDatabase):
    """Runs the steps of one service process on its database, in threads.

    Args:
        url: SQLAlchemy URL.
        defaults: what every transaction is given.
    """

    def __init__(self, url: str, defaults: TransactionDefaults) -> None:
        engine = open_engine(url)
        locks_rows = engine.dialect.name != "sqlite"
        writer, reader = SqlDatabase(engine), SqlDatabase(open_reader(url))
        super().__init__(
            Committer(writer, defaults, deliver, locks_rows=locks_rows),
            Committer(reader, defaults, deliver),
        )


def deliver(results: JobResults) -> None:
    """Hand out the answers of a group, from any thread: the loop is woken once."""
    if results:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            results[0][0].answer.get_loop().call_soon_threadsafe(answer_all, results)


def answer_all(results: JobResults) -> None:
    """Hand out the answers of a group in their loop."""
    for job, result in results:
        with suppress(asyncio.InvalidStateError):  # the caller has gone
            if isinstance(result, Exception):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)
