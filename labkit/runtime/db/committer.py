"""The committer: the thread that drives group commit, with a blocking queue and a real clock.

It decides nothing. Its ports block the thread and never suspend, so that the coroutine of group
commit runs from one end to the other without an event loop.
"""

import queue
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from labkit.runtime import critical
from labkit.runtime.clock import MachineClock
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.job import Deliver, Job, TransactionDefaults
from labkit.runtime.db.sql_database import SqlDatabase, SqlRowLocks

A = TypeVar("A")
T = TypeVar("T")


class BlockingQueue:
    """A queue of jobs whose `get` blocks its thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    def put(self, job: Job | None) -> None:
        """Add a job, from any thread."""
        self._jobs.put(job)

    async def get(self, timeout: float | None) -> Job | None:
        """Take the next job."""
        try:
            return self._jobs.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def size(self) -> int:
        """Return how many jobs wait."""
        return self._jobs.qsize()


class BlockingClock(MachineClock):
    """The clocks of this process; `sleep` blocks its thread."""

    async def sleep(self, seconds: float) -> None:
        """Block the thread so long."""
        time.sleep(seconds)

    def call_later(self, seconds: float, work: Callable[[A], None], argument: A) -> None:
        """Do something later, in a thread of its own."""
        critical.start_timer(seconds, work, argument)


class Committer:
    """A thread that commits steps, with one connection at a time.

    Args:
        database: the service's database.
        defaults: what every transaction is given.
        deliver: hands results to the callers.
        locks_rows: whether the server locks rows, so that a step can wait for one.
    """

    def __init__(
        self,
        database: SqlDatabase,
        defaults: TransactionDefaults,
        deliver: Deliver,
        *,
        locks_rows: bool = False,
    ) -> None:
        self._database = database
        self._thread = critical.VitalThread(self._serve, "committer")
        real = BlockingClock()
        held = HeldRows(SqlRowLocks(), real) if locks_rows else None
        self._commits = GroupCommit(
            database, BlockingQueue(), real, defaults, deliver, held, self._thread.turn
        )
        self._thread.start()

    def put(self, job: Job, *, bounded: bool) -> None:
        """Add a job: see `GroupCommit.put`."""
        self._commits.put(job, bounded=bounded)

    def close(self) -> None:
        """Finish what waits, and close the connection."""
        self._commits.close()
        self._thread.join()
        self._database.close()

    def _serve(self) -> None:
        run_blocking(self._commits.serve())


def run_blocking(work: Coroutine[object, None, T]) -> T:
    """Run a coroutine whose awaits block this thread and never suspend."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the coroutine returned
    raise AssertionError("it awaited something that suspends")
