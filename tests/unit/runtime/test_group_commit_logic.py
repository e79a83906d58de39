"""Group commit without a thread: its logic runs on a virtual clock, the same each time."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.job import Job
from labkit.runtime.db.sql_database import SqlDatabase, SqlSession
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.steps import step
from tests.support.grouping import StepCall, mark, raise_it, runner_defaults, take, url_of
from tests.support.store import STOCK, Store
from tests.support.virtual_time import VirtualClock, VirtualQueue

COMMIT_S = 0.01
LOCKED = OperationalError("begin", None, sqlite3.OperationalError("database is locked"))
LOST_DISK = OperationalError("begin", None, sqlite3.OperationalError("disk I/O error"))


class SlowDatabase:
    """The database port on SQLite, whose commits take virtual time and may fail.

    Args:
        database: the database.
        clock: the scheduler.
    """

    def __init__(self, database: SqlDatabase, clock: VirtualClock) -> None:
        self._database = database
        self._clock = clock
        self.failures: list[Exception] = []
        self.commits: list[float] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlSession]:
        """Run a block in a transaction, unless it is to fail."""
        if self.failures:
            raise self.failures.pop(0)
        async with self._database.transaction() as session:
            yield session
            await self._clock.sleep(COMMIT_S)
        self.commits.append(round(self._clock.monotonic(), 3))


class Simulation:
    """Group commit of the goods service in virtual time.

    Args:
        folder: the folder of the database.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self._loop = asyncio.new_event_loop()  # it makes futures, and never runs
        self.store = Store("goods", folder, url_of(folder))
        self._sql = SqlDatabase(open_engine(url_of(folder)))
        self.database = SlowDatabase(self._sql, self.clock)
        self.results: dict[int, tuple[float, Any]] = {}
        self._numbers: dict[int, int] = {}
        defaults, _ = runner_defaults(folder, own=[needs_row])
        queue = VirtualQueue(self.clock)
        self._commits = GroupCommit(self.database, queue, self.clock, defaults, self._note)

    def ask(self, calls: list[StepCall], at: float = 0.0, expires: float = float("inf")) -> None:
        """Put jobs at a virtual time; their results have the numbers 0, 1 and so on."""
        for which, command in calls:
            job = Job(which, command, self._loop.create_future(), expires)
            self._numbers[id(job.answer)] = len(self._numbers)
            self.clock.at(at, lambda job=job: self._commits.put(job, bounded=False))

    def run(self) -> dict[int, tuple[float, Any]]:
        """Run until all is done, and return when each job was answered, and with what."""
        self.clock.spawn(self._commits.serve())
        self.clock.run()
        return self.results

    def close(self) -> None:
        """Close the database."""
        self._commits.close()
        self.clock.run()
        self._sql.close()
        self._loop.close()
        self.store.engine.dispose()

    def _note(self, results: list[tuple[Job, Any]]) -> None:
        for job, result in results:
            number = self._numbers[id(job.answer)]
            self.results[number] = (round(self.clock.monotonic(), 3), result)


@step()
def needs_row(_tx: Transaction, row: "Row") -> str:
    """Refuse as long as the row is held."""
    if row.clock.monotonic() < row.held_until:
        raise RowHeld("the row is held by another transaction; ask again")
    return "done"


class Row:
    """A row that another transaction holds until a virtual time."""

    def __init__(self, clock: VirtualClock, held_until: float) -> None:
        self.clock, self.held_until = clock, held_until


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    """Group commit in virtual time, which makes no thread."""
    before = threading.active_count()
    simulation = Simulation(tmp_path)
    yield simulation
    simulation.close()
    assert threading.active_count() == before


def times(results: dict[int, tuple[float, Any]]) -> list[float]:
    """Return when the jobs were answered."""
    return [results[number][0] for number in sorted(results)]


def test_jobs_that_come_during_a_commit_share_the_next(simulation: Simulation) -> None:
    """The first is alone, those that come while it commits go together, up to a hundred."""
    simulation.ask([mark(1)])
    simulation.ask([mark(number) for number in range(2, 252)], at=COMMIT_S / 2)
    results = simulation.run()
    assert simulation.database.commits == [0.01, 0.02, 0.03, 0.04]
    assert times(results) == [0.01] + [0.02] * 100 + [0.03] * 100 + [0.04] * 50
    assert all(result.success for _, result in results.values())


def test_a_locked_database_is_asked_again(simulation: Simulation) -> None:
    """Four failures are followed by a success; the fifth in a row is everybody's error."""
    simulation.database.failures = [LOCKED] * 4
    simulation.ask([take(1, 1), take(2, 1)])
    simulation.run()
    assert all(result.success for _, result in simulation.results.values())
    simulation.database.failures = [LOCKED] * 5
    simulation.ask([take(3, 1), take(4, 1)], at=1.0)
    simulation.clock.run()
    assert [simulation.results[number][1] for number in (2, 3)] == [LOCKED, LOCKED]
    assert simulation.store.row("trade_goods")["goods_number"] == STOCK - 2


def test_a_lost_disk_is_not_asked_again(simulation: Simulation) -> None:
    """The error is delivered at once, and whoever comes next is served."""
    simulation.database.failures = [LOST_DISK]
    simulation.ask([take(1, 1)])
    simulation.ask([take(2, 1)], at=1.0)
    results = simulation.run()
    assert results[0] == (0.0, LOST_DISK)
    assert results[1][1].success


def test_a_wrong_presumption_costs_a_second_run(simulation: Simulation) -> None:
    """A group that takes more than there is answers as one by one, in two transactions."""
    simulation.ask([mark(1)])
    simulation.ask([take(2, STOCK), take(3, 1)], at=COMMIT_S / 2)
    results = simulation.run()
    assert [result.success for _, result in results.values()] == [True, True, False]
    assert simulation.database.commits == [0.01, 0.02]


def test_a_step_that_raises_is_alone_with_it(simulation: Simulation) -> None:
    """The others of its group are run again, each in a transaction of its own."""
    error = ZeroDivisionError("a defect")
    simulation.ask([mark(1)])
    simulation.ask([take(2, 1), (raise_it, error), take(3, 1)], at=COMMIT_S / 2)
    results = simulation.run()
    assert results[2][1] is error
    assert (results[1][1].success, results[3][1].success) == (True, True)
    assert simulation.database.commits == [0.01, 0.02, 0.03]


def test_a_caller_that_has_gone_is_not_served(simulation: Simulation) -> None:
    """A job whose time is over before its turn is refused, and nothing of it is done."""
    simulation.ask([mark(1)])
    simulation.ask([take(2, 1)], at=0.001, expires=0.005)
    results = simulation.run()
    assert isinstance(results[1][1], Overloaded)
    assert simulation.store.row("trade_goods")["goods_number"] == STOCK


@pytest.mark.parametrize(("held_until", "answered_at"), [(1.0, 1.0), (60.0, 2.0)])
def test_a_held_row_is_waited_for(
    simulation: Simulation, held_until: float, answered_at: float
) -> None:
    """The step is run again until the row is free, for two seconds at most; others go on."""
    row = Row(simulation.clock, held_until)
    simulation.ask([(needs_row, row), take(1, 1)])
    results = simulation.run()
    assert results[1][0] < 0.1
    at, result = results[0]
    assert answered_at <= at < answered_at + 0.2
    assert isinstance(result, RowHeld) if held_until > 2 else result == "done"


def test_a_delayed_commit_comes_later(simulation: Simulation, tmp_path: Path) -> None:
    """A failpoint that delays one commit by an hour costs an hour of virtual time, and no real."""
    FailpointStore(tmp_path).arm("goods.tell.before_commit", "delay:3600")
    simulation.ask([mark(1), take(2, 1)])
    results = simulation.run()
    assert (results[0][0], results[1][0]) == (3600.02, 0.01)


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    """Everything that happens, and when, comes from the seed alone."""
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        simulation, chance = Simulation(folder), random.Random(7)
        random.seed(7)
        for order_id in range(1, 60):
            simulation.ask([take(order_id, chance.randint(1, 3))], at=chance.uniform(0, 0.2))
        simulation.database.failures = [LOCKED] * 3
        simulation.run()
        answers = [(at, result.success) for at, result in simulation.results.values()]
        runs.append((answers, simulation.database.commits))
        simulation.close()
    assert runs[0] == runs[1]
