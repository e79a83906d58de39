"""Group commit: all steps that wait are run in one transaction and committed once.

A commit waits for the disk, so under load the steps that come meanwhile share the next one. Any
grouping gives what running one by one gives: what a group presumes is proven before its commit, and
if it is wrong, the group is run again without (`deferred`); if one step raises, nothing of the
group is kept and each is run alone; a commit whose outcome is unknown is run again, because every
step can be. The idea is old: "group commit" of IMS Fast Path (1976), told by Gray and Reuter,
Transaction Processing, 1992.

This is the logic alone. It awaits its ports (`ports`) and knows of no thread and no driver.
"""

import logging
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import count

from sqlalchemy.exc import DBAPIError

from labkit.runtime.db.commit_faults import CommitFaults, Delayed
from labkit.runtime.db.deferred import PresumptionFailed
from labkit.runtime.db.errors import ErrorKind, RowHeld, kind_of
from labkit.runtime.db.group_transaction import GroupTransaction, failure_of
from labkit.runtime.db.grouping import Grouping
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.job import Deliver, Job, JobResults, TransactionDefaults
from labkit.runtime.db.ports import CommitClock, DatabasePort, JobQueue
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection import outages

log = logging.getLogger(__name__)

#: How often a group is tried if the same may succeed; after a lost connection on a new one.
_TRIES = {ErrorKind.BUSY: 5, ErrorKind.DEADLOCK: 3, ErrorKind.LOST: 2}
_BACKOFF_S = 0.02
#: The errors of one step, which its neighbours need not share.
_OWN = (ErrorKind.OWN, ErrorKind.HELD, ErrorKind.DEADLOCK)


class GroupCommit:
    """Commits the steps of one service in groups.

    Args:
        database: the service's database.
        queue: the jobs that wait.
        clock: of the process.
        defaults: what every transaction is given.
        deliver: hands results to the callers.
        held: the rows that others hold, on a server that locks rows.
        turn: marks the time in which one group is run, for the health check.
    """

    def __init__(
        self,
        database: DatabasePort,
        queue: JobQueue[Job],
        clock: CommitClock,
        defaults: TransactionDefaults,
        deliver: Deliver,
        held: HeldRows | None = None,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._defaults = defaults
        self._deliver = deliver
        self._turn = turn
        self._grouping = Grouping(queue, clock, deliver)
        self._faults = CommitFaults(defaults.service, defaults.failpoints, clock)
        self._transaction = GroupTransaction(database, clock, defaults, self._faults, held)

    def put(self, job: Job, *, bounded: bool) -> None:
        """Add a job.

        Args:
            job: the job.
            bounded: whether it is refused if too many wait; not if its caller bounds itself.

        Raises:
            Overloaded: too many wait already.
        """
        limit = self._defaults.settings.queue_limit
        if bounded and self._queue.size() >= limit:
            raise Overloaded(
                f"{limit} steps wait for {self._defaults.service}'s database; ask later"
            )
        self._queue.put(job)

    def close(self) -> None:
        """Ask for the end, after all jobs that wait."""
        self._queue.put(None)

    async def serve(self) -> None:
        """Run jobs until the end is asked for."""
        while group := await self._grouping.next_group():
            try:
                with self._turn():
                    await self._serve_group(group)
            except Exception as error:  # a defect, or a disk that is full: the callers are told
                log.exception("%d steps of %s were given up", len(group), self._defaults.service)
                self._deliver([(job, error) for job in group])

    async def _serve_group(self, group: list[Job]) -> None:
        group = self._grouping.drop_expired(group)
        await self._faults.slow_down(group)
        armed = [job for job in group if self._faults.is_armed(job)]
        await self._run([job for job in group if job not in armed])
        for job in armed:  # what a fault does to one must not reach its neighbours
            await self._run([job])

    async def _run(self, group: list[Job], *, presuming: bool = True) -> None:
        """Run a group in one transaction; if that fails, run each of it in its own."""
        if not group:
            return
        try:
            results = await self._attempt(group, presuming=presuming and len(group) > 1)
        except PresumptionFailed:
            await self._run(group, presuming=False)
        except Delayed as delayed:
            again = replace(group[0], crossed=True, expires=float("inf"))  # what was begun ends
            self._clock.call_later(delayed.seconds, self._queue.put, again)
        except Exception as error:  # every error belongs to the one who asked
            await self._run_apart(group, error, presuming=presuming)
        else:
            self._grouping.answer([result for result in results if self._is_delivered(*result)])

    async def _run_apart(self, group: list[Job], error: Exception, *, presuming: bool) -> None:
        """Run a group in another way after it failed, if its jobs need not share the error."""
        if len(group) > 1 and presuming and isinstance(error, RowHeld):
            # by now the row is known
            await self._run(self._grouping.drop_expired(group), presuming=False)
        elif len(group) > 1 and kind_of(error) in _OWN:
            for job in group:  # one that was held up may have cost the others their time
                await self._run(self._grouping.drop_expired([job]))
        else:
            self._grouping.answer([(job, failure_of(job, error)) for job in group])

    async def _attempt(self, group: list[Job], *, presuming: bool) -> JobResults:
        for tries in count(1):
            try:
                return await self._transaction.run(group, presuming=presuming)
            except (DBAPIError, RowHeld) as error:
                _count(error)
                if tries >= _TRIES.get(kind_of(error), 1):
                    raise
                await self._clock.sleep(_BACKOFF_S * tries * random.uniform(0.5, 1))
        raise AssertionError("it returns or raises")

    def _is_delivered(self, job: Job, result: object) -> bool:
        """Cross the boundary after the commit; return True if the answer is delivered now."""
        if isinstance(result, RowHeld):
            return True
        action = self._faults.after_commit(job)
        if action.twice:
            self._queue.put(replace(job, crossed=True))
        elif action.seconds:
            self._clock.call_later(action.seconds, self._deliver, [(job, result)])
        return not action.twice and not action.seconds


def _count(error: Exception) -> None:
    """Count the outages by which faults of a server prove that they were reached."""
    if kind_of(error) not in _OWN:
        outages.count(outages.DATABASE)
    elif kind_of(error) is ErrorKind.HELD:
        outages.count(outages.ROW)
