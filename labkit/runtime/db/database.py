"""The database of one service process: business code awaits it to have a step run and committed.

Steps are queued; one thread of an instance commits them in groups, another one runs those that only
read. Business code never sees a connection, a commit, or a lock that had to be waited for.
"""

import asyncio
from contextlib import suppress
from typing import TypeVar

from labkit.runtime.db.committer import Committer
from labkit.runtime.db.engines import open_engine, open_reader
from labkit.runtime.db.job import Job, JobResults, TransactionDefaults
from labkit.runtime.db.sql_database import SqlDatabase
from labkit.runtime.steps import AnyStep, Step
from labkit.runtime.telemetry import tracing

A = TypeVar("A")
C = TypeVar("C")


class Database:
    """Runs the steps of one service process on its database.

    One event loop asks it, whichever that is.

    Args:
        url: SQLAlchemy URL.
        defaults: what every transaction is given.
    """

    def __init__(self, url: str, defaults: TransactionDefaults) -> None:
        engine = open_engine(url)
        locks_rows = engine.dialect.name != "sqlite"
        writer, reader = SqlDatabase(engine), SqlDatabase(open_reader(url))
        self._writer = Committer(writer, defaults, _deliver, locks_rows=locks_rows)
        self._reader = Committer(reader, defaults, _deliver)

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

    def _committer_of(self, step: AnyStep) -> Committer:
        return self._reader if step.reads else self._writer


def _deliver(results: JobResults) -> None:
    """Hand out the answers of a group, from the committer's thread: the loop is woken once."""
    if results:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            results[0][0].answer.get_loop().call_soon_threadsafe(settle_all, results)


def settle_all(results: JobResults) -> None:
    """Hand out the answers of a group, on the loop of those who wait for them."""
    for job, result in results:
        with suppress(asyncio.InvalidStateError):  # the caller has gone
            if isinstance(result, Exception):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)
