"""A real runner of the goods service whose groups the test decides, and how results compare."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from labkit.results import Message, Result
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.db.operations import claim
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging import outbox
from labkit.runtime.registry.files import ReservedFile
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.leases import ReservingLease
from labkit.runtime.steps import Event, Step, step
from labkit.runtime.wiring import failpoints_of
from labkit.settings import Settings
from labkit.shop.goods import deduct_stock, return_stock
from labkit.shop.messages import DeductStock, OrderCancelled
from labkit.shop.wiring import GROUPS, SERVICES
from tests.support.asking import submit
from tests.support.cases import WRITING, command_of
from tests.support.store import Store

StepCall = tuple[Step[Any, Any], Any]
SECONDS = 30  # after which something hangs, and the test fails


@dataclass(frozen=True)
class Gate:
    """Holds the committer from the moment it has begun until it is opened."""

    begun: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


class Mark(Message):
    """The command of `tell`."""

    order_id: int


@step()
def gate(_tx: Transaction, held: Gate) -> None:
    """Hold the committer."""
    held.begun.set()
    assert held.opened.wait(SECONDS)


@step(reads=True)
def reading_gate(_tx: Transaction, held: Gate) -> None:
    """Hold who reads."""
    held.begun.set()
    assert held.opened.wait(SECONDS)


@step()
def tell(tx: Transaction, command: Mark) -> Result[None]:
    """Tell an event, once an order."""
    operation = claim(tx, "tell", command)
    if operation.previous_result:
        return operation.previous_result
    tx.emit(OrderCancelled(order_id=command.order_id))
    return operation.apply(amount=1)


@step()
def tell_and_fail(tx: Transaction, command: Mark) -> None:
    """Do all that `tell` does, and raise."""
    tell(tx, command)
    raise ZeroDivisionError(f"order {command.order_id}")


@step()
def raise_it(_tx: Transaction, error: Exception) -> None:
    """Raise what it is given."""
    raise error


@step()
def die_once(_tx: Transaction, folder: Path) -> None:
    """The process dies here the first time, in the middle of the group's transaction."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def runner_defaults(
    folder: Path,
    worker: int = 1,
    service: str = "goods",
    own: Iterable[Step[Any, Any]] = (),
    committed: Callable[[list[tuple[int, Event, str]]], None] = lambda _: None,
    **settings: Any,
) -> tuple[TransactionDefaults, Failpoints]:
    """Return what a service's transactions are given, and its failpoints.

    Args:
        folder: the folder of the clock and the faults.
        worker: the number under which it makes ids.
        service: name of the service.
        own: more steps, which need failpoints.
        committed: is called with the events of each commit.
        settings: the lab's settings.
    """
    points = failpoints_of(SERVICES[service])
    for which in (gate, tell, tell_and_fail, raise_it, die_once, *own):
        points += [Failpoint(service, which.name, boundary) for boundary in KINDS["commit"]]
    points += [Failpoint("goods", OrderCancelled.topic, boundary) for boundary in KINDS["send"]]
    failpoints = Failpoints(folder, f"{service}-{worker}", points)
    lease = ReservingLease(ReservedFile(folder / f"{worker}.reserved"), worker, 60_000)
    defaults = TransactionDefaults(
        service=service,
        clock=LabClock(folder / "clock.json"),
        ids=IdMaker(lease, wall_ms),
        settings=Settings(**settings),
        failpoints=failpoints,
        write_outbox=outbox.event_writer(GROUPS),
        committed=committed,
    )
    return defaults, failpoints


class Runner:
    """A service's runner on a file, as a process of its own would have it.

    Args:
        folder: of the database, the clock and the faults.
        worker: the number under which it makes ids.
        service: whose it is.
        settings: of the lab.
    """

    def __init__(
        self, folder: Path, worker: int = 1, service: str = "goods", **settings: Any
    ) -> None:
        self.events: list[tuple[int, Event, str]] = []
        defaults, self.failpoints = runner_defaults(
            folder, worker, service, committed=self.events.extend, **settings
        )
        self.database = Database(url_of(folder, service), defaults)

    @contextmanager
    def held(self, by: Step[Any, Any] = gate) -> Iterator[None]:
        """Hold what is asked inside the block, and release it as one group."""
        holding = Gate()
        submit(self.database, by, holding)
        assert holding.begun.wait(SECONDS)
        try:
            yield
        finally:
            holding.opened.set()

    def together(self, calls: list[StepCall]) -> list[Future[Any]]:
        """Run steps as one group: all of them write, or all of them only read."""
        with self.held(reading_gate if calls[0][0].reads else gate):
            return [submit(self.database, *call) for call in calls]


def url_of(folder: Path, service: str = "goods") -> str:
    """Where the runner's database lies."""
    return f"sqlite:///{folder / service}.sqlite"


@contextmanager
def running(
    folder: Path, service: str = "goods", **settings: Any
) -> Iterator[tuple[Runner, Store]]:
    """A runner on a new database, and the database from outside."""
    folder.mkdir()
    store = Store(service, folder, url_of(folder, service))
    runner = Runner(folder, service=service, **settings)
    try:
        yield runner, store
    finally:
        runner.database.close()
        store.engine.dispose()


def take(order_id: int, pieces: int) -> StepCall:
    """Take pieces of goods 1 for an order."""
    return deduct_stock, DeductStock(order_id=order_id, goods_id=1, goods_number=pieces)


def give_back(order_id: int) -> StepCall:
    """Give back what was taken for an order."""
    return return_stock, OrderCancelled(order_id=order_id)


def mark(order_id: int) -> StepCall:
    """Tell an event of an order, once."""
    return tell, Mark(order_id=order_id)


@contextmanager
def counting_commits(folder: Path) -> Iterator[list[Connection]]:
    """The commits that the runner of this folder makes from now on."""
    commits: list[Connection] = []

    def note(connection: Connection) -> None:
        ours = str(connection.engine.url) == url_of(folder)
        if ours and threading.current_thread().name == "committer":
            commits.append(connection)

    event.listen(Engine, "commit", note)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", note)


def end_of(future: Future[Any]) -> Any:
    """How a step ended: its answer as plain data, or the kind of what it raised and its words."""
    error = future.exception(SECONDS)
    return plain(error or future.result())


def twice_together(
    together: Callable[[list[StepCall]], list[Future[Any]]],
    store: Store,
    name: str,
) -> None:
    """Ask for a step twice in one group, and so again: the rows are those of one run, and the
    second answers are the first.

    Args:
        together: runs steps as one group.
        store: their database.
        name: of the step.
    """
    _, step, _ = WRITING[name]
    command = command_of(name, store)
    before = store.everything()
    group = [(step, command)] * 2

    first, second = (end_of(future) for future in together(group))
    after = store.everything()
    again = [end_of(future) for future in together(group)]

    assert after != before, "the case proves nothing: the step did not apply"
    assert store.everything() == after
    if not step.name.startswith("claim_"):  # of those, who comes second has nothing to do
        assert first == second == again[0] == again[1]


def one_by_one(store: Store, calls: list[StepCall]) -> list[Any]:
    """How the same steps end, each in a transaction of its own, without any runner."""
    return [_alone(store, *call) for call in calls]


def _alone(store: Store, which: Step[Any, Any], command: Any) -> Any:
    try:
        return plain(store.run(which, command))
    except Exception as error:  # whatever it raises is how it ended
        return plain(error)


def plain(end: Any) -> Any:
    """An answer as plain data, an exception as its kind and words: both compare."""
    if isinstance(end, Exception):
        return type(end).__name__, str(end)
    return end.model_dump(mode="json") if isinstance(end, Message) else end


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All rows in their order, without what is different each time: event ids and leases."""
    return {
        name: [
            {key: row[key] for key in row if key not in ("event_id", "next_try")} for row in rows
        ]
        for name, rows in store.everything().items()
    }


def in_any_order(store: Store) -> dict[str, list[str]]:
    """The same, whichever row came first."""
    return {name: sorted(map(repr, rows)) for name, rows in tables(store).items()}
