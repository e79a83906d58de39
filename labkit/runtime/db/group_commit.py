"""Group commit: one thread takes all steps that wait, runs them in one transaction, commits once.

A commit waits for the disk, so under load the steps that come meanwhile share the next one. Any
grouping gives what running one by one gives: what a group presumes is proven before its commit, and
else it is run again without (`pending`); if one step raises, nothing of the group is kept and each
is run alone; a commit whose outcome is unknown is run again, because every step can be. The
idea is old: "group commit" of IMS Fast Path (1976), told by Gray and Reuter, Transaction
Processing, 1992.
"""

import logging
import queue
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy import Transaction as DatabaseTransaction
from sqlalchemy.exc import DBAPIError

from labkit.results import Result
from labkit.runtime import critical
from labkit.runtime.clock import wall_ms
from labkit.runtime.db.compiled import cursor_of
from labkit.runtime.db.deferred import DeferredWrites, PresumptionFailed
from labkit.runtime.db.engines import RowHeld, Trouble, trouble
from labkit.runtime.db.held_rows import HeldRows, LeftBehind, end_left_behind
from labkit.runtime.db.job import Job, JobResults, TransactionDefaults
from labkit.runtime.db.lookup import find_together
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection import outages
from labkit.runtime.injection.failpoints import Refused
from labkit.runtime.injection.standing import FaultKind

log = logging.getLogger(__name__)

_GROUP = 100
_EVER = float("inf")
#: How long a step waits for a held row, run again every now and then, while all others go on; who
#: has less time is told before that is over. However many wait, so many at most are run again.
_HELD_S, _AGAIN_S, _TOLD_S = 2.0, 0.05, 0.1
_MOST_AGAIN = 20
_LOOK_SECONDS = 0.02
#: How often a group is tried where the same may succeed; after a lost connection on a new one.
_TRIES = {Trouble.BUSY: 5, Trouble.DEADLOCK: 3, Trouble.LOST: 2}
#: What the neighbours of the one whom it hit need not share.
_OWN = (Trouble.NONE, Trouble.HELD, Trouble.DEADLOCK)


class GroupCommit:
    """One thread, one connection at a time, one bounded queue.

    Args:
        engine: of the service's database.
        context: what transactions are handed.
        deliver: hands the answers of a group to those who wait.
        locks_rows: whether the server locks rows, so that a step can wait for one.
    """

    def __init__(
        self,
        engine: Engine,
        context: TransactionDefaults,
        deliver: Callable[[JobResults], None],
        *,
        locks_rows: bool = False,
    ) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._context = context
        self._deliver = deliver
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._held = HeldRows() if locks_rows else None
        self._put_off: list[tuple[Job, RowHeld]] = []  # who needs a row that is held
        self._again_at = 0.0
        self._thread = critical.VitalThread(self._loop, "committer")
        self._thread.start()

    def put(self, work: Job, *, bounded: bool) -> None:
        """Have a step run soon.

        Args:
            work: the step.
            bounded: whether it is refused where too many wait: not where its caller is bounded.

        Raises:
            Overloaded: too many wait already.
        """
        limit = self._context.settings.queue_limit
        if bounded and self._queue.qsize() >= limit:
            raise Overloaded(
                f"{limit} steps wait for {self._context.service}'s database; ask later"
            )
        self._queue.put(work)

    def close(self) -> None:
        """Finish what waits, and close the connection."""
        self._queue.put(None)
        self._thread.join()
        if self._connection:
            self._connection.close()
        self._engine.dispose()

    def _loop(self) -> None:
        while group := self._take():
            try:
                with self._thread.turn():
                    self._see_to(group)
            except Exception as error:  # a defect, or a disk that is full: who asked is told
                log.exception("%d steps of %s were given up", len(group), self._context.service)
                self._deliver([(work, error) for work in group])

    def _see_to(self, group: list[Job]) -> None:
        awaited = self._awaited(group)
        self._slow_down(awaited)
        armed = [work for work in awaited if self._is_armed(work)]
        self._run([work for work in awaited if work not in armed])
        for work in armed:  # what a fault does to one must not reach its neighbours
            self._run([work])

    def _awaited(self, group: list[Job]) -> list[Job]:
        """Those whose callers still wait; the others are told."""
        now = time.monotonic()
        late = [work for work in group if work.expires < now]
        if late:
            self._deliver([(work, Overloaded("its caller's time is over")) for work in late])
        return [work for work in group if work.expires >= now]

    def _take(self) -> list[Job]:
        """All that wait, as far as a group may grow; nothing where the end was asked for."""
        group: list[Job] = []
        while not group:
            ends = self._gather(group)
            if ends and not group and not self._put_off:
                return []
            if ends:
                self._queue.put(None)
            group += self._take_again(at_once=not group)
        return group

    def _gather(self, group: list[Job]) -> bool:
        """Add what waits to a group, as far as it may grow; whether the end was asked for."""
        with suppress(queue.Empty):  # nobody is new, and who needs a held row is due
            while not group or (len(group) < _GROUP and not self._queue.empty()):
                rest = max(0.0, self._again_at - time.monotonic()) if self._put_off else None
                work = self._queue.get(timeout=rest)
                if work is None:
                    return True
                group.append(work)
        return False

    def _take_again(self, *, at_once: bool) -> list[Job]:
        """Some of those who need a held row, where they are due; who has no time left is told."""
        now = time.monotonic()
        self._deliver([end for end in self._put_off if now >= _waits_until(end[0])])
        waiting = [end for end in self._put_off if now < _waits_until(end[0])]
        due = _MOST_AGAIN if at_once or now >= self._again_at else 0
        self._put_off = waiting[due:]
        return [work for work, _ in waiting[:due]]

    def _answer(self, ends: JobResults) -> None:
        """Hand answers out; a step that met a held row is run again for as long as it may wait."""
        now = time.monotonic()
        told: JobResults = []
        for work, answer in ends:
            if isinstance(answer, RowHeld):
                work.held_since = work.held_since or now
                if now < _waits_until(work):
                    self._put_off.append((work, answer))
                    continue
            told.append((work, answer))
        if len(told) < len(ends) and now >= self._again_at:
            self._again_at = now + _AGAIN_S
        self._deliver(told)

    def _run(self, group: list[Job], *, presuming: bool = True) -> None:
        """Run a group in one transaction; where that fails, each of it in its own."""
        try:
            ends = self._attempt(group, presuming and len(group) > 1) if group else []
        except PresumptionFailed:
            self._run(group, presuming=False)
        except _Delayed as delayed:
            again = replace(group[0], crossed=True, expires=_EVER)  # what was begun ends
            critical.start_timer(delayed.seconds, self._queue.put, again)
        except Exception as error:  # every error belongs to the one who asked
            if len(group) > 1 and presuming and isinstance(error, RowHeld):
                self._run(self._awaited(group), presuming=False)  # by now the row is known
            elif len(group) > 1 and trouble(error) in _OWN:
                for work in group:  # one that was held up may have cost the others their time
                    self._run(self._awaited([work]))
            else:
                self._answer([(work, _failure(work, error)) for work in group])
        else:
            self._answer([end for end in ends if self._goes_out(*end)])

    def _attempt(self, group: list[Job], presuming: bool) -> JobResults:
        for tries in count(1):
            try:
                return self._in_time(group, presuming)
            except (DBAPIError, RowHeld) as error:
                _count(error)
                if tries >= _TRIES.get(trouble(error), 1):
                    raise
                time.sleep(0.02 * tries * random.uniform(0.5, 1))
        raise AssertionError("it returns or raises")

    def _in_time(self, group: list[Job], presuming: bool) -> JobResults:
        """Run a group; a transaction that waits too long for a row is ended, and holds nothing."""
        try:
            return self._transact(group, presuming and not self._held)
        except LeftBehind as left:
            end_left_behind(self._engine, left.thread)
            raise RowHeld(str(left)) from left

    def _transact(self, group: list[Job], presuming: bool) -> JobResults:
        context, ends, emitted = self._context, [], []
        self._note_step(group)
        with self._connected() as connection, _undoing(connection, connection.begin()):
            # Only now: beginning may have waited for whoever else writes.
            now, wall = context.clock.now(), wall_ms()
            cursor = cursor_of(connection)
            pending = DeferredWrites(cursor, self._held) if presuming else None
            found = find_together(connection, cursor, group)
            apart = bool(self._held) and len(group) > 1
            for work in group:
                tx = Transaction(
                    connection,
                    now,
                    wall,
                    context.ids,
                    context.settings,
                    cursor,
                    work.trace,
                    pending,
                    found,
                    held=self._held,
                )
                try:
                    with _undoing(connection, connection.begin_nested() if apart else None):
                        ends.append((work, work.step.function(tx, work.command)))
                        if tx.emitted:
                            context.write_outbox(tx)
                except RowHeld as error:  # the others go on, in this transaction
                    if not apart:
                        raise
                    _count(error)
                    ends.append((work, _failure(work, error)))
                else:
                    emitted += [(*one, work.trace) for one in tx.emitted]
            if pending:
                pending.flush()
            for work, answer in ends:
                if not isinstance(answer, RowHeld):
                    self._before_commit(work, alone=len(group) == 1)
        if emitted:
            context.committed(emitted)
        return ends

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection, which stays open; after an error a new one is made."""
        connection, self._connection = self._connection or self._engine.connect(), None
        try:
            yield connection
        except BaseException as error:
            if trouble(error) is Trouble.LOST:
                connection.invalidate()
            connection.close()
            raise
        self._connection = connection

    # faults

    def _slow_down(self, group: list[Job]) -> None:
        """Take longer for a group, as a slow disk would, where a rule says so."""
        rules = self._context.failpoints.standing
        for rule in rules.of(FaultKind.SLOW, self._context.service):
            # what the runtime looks for by itself, all the time, proves nothing
            rules.hit(rule, sum(not one.step.reads or one.expires < _EVER for one in group))
            until = time.monotonic() + rule.amount
            while time.monotonic() < until and rules.is_standing(rule):
                time.sleep(min(_LOOK_SECONDS, rule.amount))

    def _note_step(self, group: list[Job]) -> None:
        """Note who writes by a wall clock that a rule has stepped."""
        failpoints = self._context.failpoints
        for rule in failpoints.standing.of(FaultKind.CLOCK_STEPPED, failpoints.process):
            failpoints.standing.hit(rule, sum(not one.step.reads for one in group))

    def _is_armed(self, work: Job) -> bool:
        return not work.step.reads and self._context.failpoints.is_armed(self._before(work))

    def _before(self, work: Job) -> str:
        return f"{self._context.service}.{work.step.name}.before_commit"

    def _before_commit(self, work: Job, *, alone: bool) -> None:
        if work.step.reads:
            return
        if work.crossed or not alone:
            self._context.failpoints.count(self._before(work))
            return
        action = self._context.failpoints.act(self._before(work))
        if action.verb == "stall":
            time.sleep(action.seconds)
        elif action.seconds:
            raise _Delayed(action.seconds)

    def _goes_out(self, work: Job, answer: Any) -> bool:
        """Cross the boundary after the commit; whether the answer goes to its caller now."""
        if work.step.reads or isinstance(answer, RowHeld):
            return True
        name = f"{self._context.service}.{work.step.name}.after_commit"
        if work.crossed:
            self._context.failpoints.count(name)
            return True
        action = self._context.failpoints.act(name)
        if action.twice:
            self._queue.put(replace(work, crossed=True))
        elif action.seconds:
            critical.start_timer(action.seconds, self._deliver, [(work, answer)])
        return not action.twice and not action.seconds


class _Delayed(Exception):
    """A step is to commit later: it is undone, its neighbours go on, and it is run again then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def _failure(work: Job, error: Exception) -> Any:
    """What the caller of a step that raised is given: the refusal of a failpoint is an answer."""
    if not isinstance(error, Refused) or work.step.failed is None:
        return error
    order_id = getattr(work.command, "order_id", None)
    text = f"order {order_id}: {error}" if order_id else str(error)
    return Result[Any].refused(work.step.failed, text)


def _waits_until(work: Job) -> float:
    """Return when a step that met a held row is told so, at the latest."""
    return min(work.expires - _TOLD_S, work.held_since + _HELD_S)


def _count(error: Exception) -> None:
    """Count what faults of a server prove by: that it was away, or a row was held."""
    if trouble(error) not in _OWN:
        outages.count(outages.DATABASE)
    elif trouble(error) is Trouble.HELD:
        outages.count(outages.ROW)


@contextmanager
def _undoing(connection: Connection, transaction: DatabaseTransaction | None) -> Iterator[None]:
    """Undo what a block did if it raises; a connection that was left behind can undo nothing."""
    with transaction or nullcontext():
        try:
            yield
        except LeftBehind:
            connection.invalidate()
            raise
