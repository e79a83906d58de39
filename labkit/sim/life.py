"""One life of the shop: customers do what their stories tell, and everything comes to its end."""

import gc
import hashlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from sqlalchemy import Table

from labkit.ops.invariants.kinds import Clocks
from labkit.ops.reader import DATABASES
from labkit.runtime import critical
from labkit.sim.changes import changes, snapshot
from labkit.sim.checking import Checker
from labkit.sim.clocks import START_MS
from labkit.sim.customer import Customer, NoFinalAnswer
from labkit.sim.deviations import Chooser, Decisions
from labkit.sim.disk import SimDisk
from labkit.sim.first_rows import ROWS
from labkit.sim.plan import Plan
from labkit.sim.recording import Record
from labkit.sim.shops import earlier_shop
from labkit.sim.sim_front import SimFront
from labkit.sim.stories import STORIES
from labkit.sim.world import RESTART_S, World
from labkit.stack.migrations import running
from labkit.stack.migrations.revisions import needed
from labkit.stack.releases.release import own
from labkit.stack.setup.seeds import Row, fill

_STORY_S, _SETTLE_S = 300.0, 60.0
_LATE_S = 0.1  # in which what was late has happened
_TIME_TO_PAY = timedelta(minutes=20)
_AHEAD = timedelta(days=1)
_LIVES_BETWEEN_COLLECTIONS = 50


@dataclass(frozen=True)
class Life:
    """One life, and what was found in it.

    Attributes:
        plan: it, with what happened that does not in a calm life.
        breaches: what must not be, in words.
        turns: how many callbacks were run.
        deaths: how many processes died.
        seconds: of virtual time.
        order: the crossings of points, in order.
        offered: point → what could have happened there.
        record: who called whom, where that was written down.
        digest: of all rows of all tables at its end, where it was recorded.
        changes: a line for each row that it has changed, where it was recorded.
    """

    plan: Plan
    breaches: tuple[str, ...]
    turns: int
    deaths: int
    seconds: float
    order: Sequence[tuple[str, int]]
    offered: Mapping[str, Sequence[str]]
    record: Record
    digest: str
    changes: Sequence[str]

    @property
    def decisions(self) -> int:
        """Return how often it was decided what happens."""
        return len(self.order)


class Stage:
    """Databases in memory, on which one life after the other is lived.

    Args:
        rows: table → its rows at the beginning of each life.

    Attributes:
        disks: service → its database.
        checker: the invariants, on these databases.
    """

    def __init__(self, rows: Mapping[str, list[Row]] = ROWS) -> None:
        self.disks: Mapping[str, SimDisk] = {name: SimDisk(name) for name in DATABASES}
        for name, tables in DATABASES.items():
            _fill(self.disks[name], name, tables, rows)
        self.checker = Checker(self.disks)
        self._lives = 0
        self._broken_by_a_commit: list[str] = []

    def live(
        self,
        plan: Plan,
        chooser: Chooser,
        *,
        record: bool = False,
        restart_s: float = RESTART_S,
        at_end: Callable[[], object] = lambda: None,
    ) -> Life:
        """Live one life.

        Args:
            plan: stories, instances and seed.
            chooser: chooses what happens.
            record: whether to write down who called whom, and the digest of the tables.
            restart_s: from a process's death until another one is started.
            at_end: called when all has settled, before the databases forget it.
        """
        written = Record(record)
        decisions = Decisions(chooser, written)
        with self.new_life(plan.seed):
            world = World(self.disks, plan, decisions, written, restart_s)
            try:
                return self._live_in(world, plan, decisions, at_end)
            finally:
                world.close()
                del world  # so that what is left of it is closed inside of this block

    def _live_in(
        self, world: World, plan: Plan, decisions: Decisions, at_end: Callable[[], object]
    ) -> Life:
        front, is_recorded = SimFront(world), decisions.record.is_on
        before = snapshot(self.checker.rows) if is_recorded else {}
        for disk in self.disks.values():
            disk.after_commit = partial(self._check_commit, world)
        breaches = [*self._play(world, plan.stories, front), *world.defects]
        breaches = breaches or self.checker.check(front.exchanges, clocks_of(world))
        passing = [text for text in self._broken_by_a_commit if text not in breaches]
        breaches += [f"{text}, right after a commit" for text in passing]
        at_end()
        return Life(
            replace(plan, deviations=tuple(decisions.deviations)),
            tuple(breaches),
            world.loop.turns,
            len(world.deaths),
            world.loop.time(),
            tuple(decisions.order),
            decisions.offered,
            decisions.record,
            self.digest() if is_recorded else "",
            tuple(changes(before, snapshot(self.checker.rows))) if is_recorded else (),
        )

    def digest(self) -> str:
        """Return a hash of all rows of all tables as they are now."""
        rows = hashlib.sha256()
        for name, tables in DATABASES.items():
            for table in tables:
                for row in self.checker.rows(name, table.name):
                    rows.update(repr(tuple(row)).encode())
        return rows.hexdigest()[:16]

    def _check_commit(self, world: World, service: str) -> None:
        """Check what holds within one database at any moment, until something does not."""
        if not self._broken_by_a_commit:
            self._broken_by_a_commit = list(self.checker.check_within(service, clocks_of(world)))

    def _play(self, world: World, stories: Iterable[str], front: SimFront) -> Iterator[str]:
        """Play the stories to their ends, and yield what does not end."""
        tasks = [
            world.loop.create_task(STORIES[name](Customer(front, number)))
            for number, name in enumerate(stories)
        ]
        if not world.loop.run_until(lambda: all(task.done() for task in tasks), _STORY_S):
            yield "a story does not end"
            return
        for task in tasks:
            if error := task.exception():
                is_known = isinstance(error, NoFinalAnswer)
                yield f"no final answer: {error}" if is_known else f"a story fails: {error!r}"
                return
        yield from self.settle(world)
        if self.checker.is_unpaid():  # then it is cancelled when its time is over
            world.lab_clock.advance(_TIME_TO_PAY)
            if not world.loop.run_until(lambda: not self.checker.is_unpaid(), _SETTLE_S):
                yield "it does not settle: an order still waits to be paid after its time"
            yield from self.settle(world)

    def settle(self, world: World) -> Iterator[str]:
        """Run until nothing is in flight and nothing is late any more; yield what never ends."""

        def is_settled() -> bool:
            is_late = world.loop.time() < world.decisions.late_until + _LATE_S
            is_writing = any(disk.writing for disk in self.disks.values())
            return not is_late and not is_writing and not self._in_flight(world)

        if not world.loop.run_until(is_settled, _SETTLE_S):
            yield f"it does not settle: {self._in_flight(world)}"

    def _in_flight(self, world: World) -> str:
        return self.checker.in_flight(str(world.lab_clock.now()))

    @contextmanager
    def new_life(self, seed: int) -> Iterator[None]:
        """Begin with the first data for a block, and forget all that happened after it.

        What coroutines report that are closed in the midst of their work, because their process
        died or the life is over, is passed over. A process that lives nothing but lives, and so
        does without the collector, has it run now and then.
        """
        drawn, collects, hook = random.getstate(), gc.isenabled(), sys.unraisablehook
        random.seed(seed)  # the product draws its jitter from there
        gc.disable()  # a dead process's coroutines are closed between two lives, never in one
        sys.unraisablehook = _pass_over
        self._broken_by_a_commit = []
        for disk in self.disks.values():
            disk.begin_life()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of what was never awaited
                yield
                critical.end_by(os._exit)  # and not by what still holds the world
                self._lives += 1
                if collects or self._lives % _LIVES_BETWEEN_COLLECTIONS == 0:
                    gc.collect()
        finally:
            critical.end_by(os._exit)
            for disk in self.disks.values():
                disk.end_life()
            sys.unraisablehook = hook
            random.setstate(drawn)
            if collects:
                gc.enable()


def _fill(disk: SimDisk, name: str, tables: Sequence[Table], rows: Mapping[str, list[Row]]) -> None:
    """Put the first data in; beside an earlier release, where it expands what that one has made."""
    shop, release = earlier_shop(), own()
    if shop is None or name not in shop.tables:
        return fill(disk.connection, tables, rows)
    fill(disk.connection, shop.tables[name], rows)
    disk.connection.commit()
    if need := needed(release.number, release.revisions(name)):
        running.upgrade(disk.connection, name, str(need))
        disk.connection.commit()
    return None


def _pass_over(_unraisable: object) -> None:
    """Pass over what coroutines raise that are closed in the midst of their work."""


def clocks_of(world: World) -> Clocks:
    """Return what the invariants compare times with, as it is now."""
    latest = world.lab_clock.now() + _AHEAD
    return {"now_ms": START_MS + int(world.loop.time() * 1000), "latest": str(latest)}
