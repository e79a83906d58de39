"""The database runner: what business code awaits to have a step run and committed.

Steps are queued; one thread an instance commits them in groups, another one answers what only
reads. Business code never sees a connection, a commit, or a lock that had to be waited for.
"""

import asyncio
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

from labkit.runtime.db.engines import open_engine, open_reader
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.job import Job, JobResults, TransactionDefaults
from labkit.runtime.steps import Step
from labkit.runtime.telemetry import tracing

A = TypeVar("A")
C = TypeVar("C")


class Database:
    """Runs the steps of one service process on its database.

    Args:
        url: SQLAlchemy URL.
        context: clocks, ids, failpoints and the outbox.
    """

    def __init__(self, url: str, context: TransactionDefaults) -> None:
        engine = open_engine(url)
        locks_rows = engine.dialect.name != "sqlite"
        self._writer = GroupCommit(engine, context, self._deliver, locks_rows=locks_rows)
        self._reader = GroupCommit(open_reader(url), context, self._deliver)

    async def run(self, step: Step[C, A], command: C) -> A:
        """Run a step and commit; the same as `ask`, for whoever waits as long as it takes."""
        return await self.ask(step, command)

    def ask(
        self,
        step: Step[C, A],
        command: C,
        expires: float = float("inf"),
        *,
        behind_writes: bool = False,
    ) -> "asyncio.Future[A]":
        """Have a step run and committed.

        Args:
            step: the step.
            command: what it is asked to do.
            expires: when nobody waits for it any more (monotonic clock); then it is not begun.
            behind_writes: whether a step that only reads waits for all that is to be written, and
                sees it; where nothing can be written it has no answer.

        Returns:
            A future of the step's answer, after the commit. It may raise what the step raised,
            `OperationalError` where the database is away, full, or locked for too long, `RowHeld`
            where somebody holds a row for too long, and `Refused` where a failpoint refused a step
            that has no code for that.

        Raises:
            Overloaded: too many steps wait already.
        """
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        worker = self._writer if behind_writes else self._worker(step)
        worker.put(Job(step, command, answer, expires, tracing.inject()), bounded=True)
        return answer

    def submit(self, step: Step[C, A], command: C, trace: str = "") -> "Future[A]":
        """The same from a thread that waits for what it submits, so that it bounds itself."""
        answer: Future[A] = Future()
        self._worker(step).put(Job(step, command, answer, trace=trace), bounded=False)
        return answer

    def close(self) -> None:
        """Finish what was queued and close."""
        self._writer.close()
        self._reader.close()

    def _worker(self, step: Step[Any, Any]) -> GroupCommit:
        return self._reader if step.reads else self._writer

    def _deliver(self, ends: JobResults) -> None:
        """Hand out the answers of a group, from the committer's thread: the loop is woken once."""
        for_loop = [end for end in ends if isinstance(end[0].answer, asyncio.Future)]
        if for_loop:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                for_loop[0][0].answer.get_loop().call_soon_threadsafe(_settle_all, for_loop)
        _settle_all([end for end in ends if isinstance(end[0].answer, Future)])


def _settle_all(ends: JobResults) -> None:
    for work, end in ends:
        with suppress(asyncio.InvalidStateError, InvalidStateError):  # whoever waited has gone
            if isinstance(end, StopIteration):  # which no future takes: it would end its waiter
                work.answer.set_exception(RuntimeError(f"a step raised {end!r}"))
            elif isinstance(end, Exception):
                work.answer.set_exception(end)
            else:
                work.answer.set_result(end)
