"""One transaction of a group: all its steps run in it, and their events leave with it."""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from labkit.results import Result
from labkit.runtime.clock import Clock
from labkit.runtime.db.commit_faults import CommitFaults
from labkit.runtime.db.deferred import DeferredWrites
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.job import Emitted, Job, JobResults, TransactionDefaults
from labkit.runtime.db.lookup import Prefetched, prefetch
from labkit.runtime.db.ports import DatabasePort, Session
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.evolution import known
from labkit.runtime.injection import outages
from labkit.runtime.injection.failpoints import Refused


class GroupTransaction:
    """Runs groups of steps, each group in one transaction.

    Args:
        database: the service's database.
        clock: of the process.
        defaults: what every transaction is given.
        faults: the faults around a commit.
        held: the rows that others hold, on a server that locks rows.
    """

    def __init__(
        self,
        database: DatabasePort,
        clock: Clock,
        defaults: TransactionDefaults,
        faults: CommitFaults,
        held: HeldRows | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._defaults = defaults
        self._faults = faults
        self._held = held

    async def run(self, group: list[Job], *, presuming: bool) -> JobResults:
        """Run the steps of a group and commit.

        Args:
            group: the jobs.
            presuming: whether writes are deferred, and presumed to meet what steps expect.

        Returns:
            The result of each job. One that met a held row has `RowHeld` as its result, if it was
            not alone: nothing of it was done.

        Raises:
            PresumptionFailed: a deferred write did not meet what was expected.
            Exception: a step or the database failed; nothing of the group is kept.
        """
        self._faults.note_stepped_clock(group)
        async with self._database.transaction() as session:
            run = self._begin(session, group, presuming)
            for job in group:
                run.step(job)
            run.flush()
            for job, result in run.results:
                if not (isinstance(result, RowHeld) or self._faults.passes(job, "before_commit")):
                    await self._faults.before_commit(job, alone=len(group) == 1)
        if run.emitted:
            self._defaults.committed(run.emitted)
        return run.results

    def _begin(self, session: Session, group: list[Job], presuming: bool) -> "_Run":
        suspects = bool(self._held)
        return _Run(
            self._defaults,
            session,
            # Only now: beginning may have waited for whoever else writes.
            self._defaults.clock.now(),
            self._clock.wall_ms(),
            DeferredWrites(session.cursor, self._held) if presuming and not suspects else None,
            prefetch(session.connection, session.cursor, group),
            self._held,
            [],
            [],
            apart=suspects and len(group) > 1,
        )


@dataclass
class _Run:
    """One run of a group.

    Attributes:
        apart: whether each step has a savepoint, so that one that meets a held row is undone alone.
    """

    defaults: TransactionDefaults
    session: Session
    now: datetime
    wall_ms: int
    deferred: DeferredWrites | None
    prefetched: Prefetched
    held: HeldRows | None
    results: JobResults
    emitted: list[Emitted]
    apart: bool

    def step(self, job: Job) -> None:
        """Run a step and write its events to the outbox."""
        tx = self._transaction(job)
        try:
            with self.session.savepoint() if self.apart else nullcontext():
                answer = _call(job, tx)
                if tx.emitted:
                    self.defaults.write_outbox(tx)
        except RowHeld as error:  # the others go on, in this transaction
            if not self.apart:
                raise
            outages.count(outages.ROW)
            self.results.append((job, failure_of(job, error)))
        else:
            self.results.append((job, answer))
            self.emitted += [(*emitted, job.trace) for emitted in tx.emitted]

    def flush(self) -> None:
        """Send the writes that were deferred."""
        if self.deferred:
            self.deferred.flush()

    def _transaction(self, job: Job) -> Transaction:
        return Transaction(
            self.session.connection,
            self.now,
            self.wall_ms,
            self.defaults.ids,
            self.defaults.settings,
            self.session.cursor,
            job.trace,
            self.deferred,
            self.prefetched,
            held=self.held,
        )


def failure_of(job: Job, error: Exception) -> object:
    """Return what the caller of a step that raised gets: a failpoint's refusal is an answer."""
    if not isinstance(error, Refused) or job.step.failed is None:
        return error
    order_id = getattr(job.command, "order_id", None)
    text = f"order {order_id}: {error}" if order_id else str(error)
    return Result[None].refused(job.step.failed, text)


def _call(job: Job, tx: Transaction) -> object:
    try:
        return job.step.function(tx, known(job.command))
    except StopIteration as error:  # which neither a coroutine nor a future lets through
        raise RuntimeError(f"a step raised {error!r}") from error
