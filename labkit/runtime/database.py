"""The database runner: opens, commits and repeats the transactions that steps run in.

Steps are queued; one thread an instance takes them and commits. Business code never sees a
connection being opened, a commit, or a lock that had to be waited for.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from labkit.results import Result
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.failpoints import Failpoints, Refused
from labkit.runtime.ids import IdMaker
from labkit.runtime.steps import Event, Step, Transaction
from labkit.settings import Settings

A = TypeVar("A")
log = logging.getLogger(__name__)

_TRIES_WHEN_LOCKED = 5
_BUSY_MS = 2000


def open_engine(url: str, begin: str = "BEGIN IMMEDIATE") -> Engine:
    """An engine with the settings that durability rests on.

    SQLite: write-ahead log; `synchronous=FULL`, so that a commit is on disk when it returns;
    `BEGIN IMMEDIATE`, because a deferred begin that reads and then writes fails with BUSY when
    another writer came between.

    Args:
        url: SQLAlchemy URL of one service's database.
        begin: how transactions begin; readers take the plain `BEGIN`, a snapshot.
    """
    pool: Any = {"poolclass": StaticPool} if url == "sqlite://" else {"pool_size": 1}
    connect_args = {"isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, **pool)

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def open_reader(url: str) -> Engine:
    """An engine for who only looks: it takes snapshots and can change nothing."""
    engine = open_engine(url, "BEGIN")

    @event.listens_for(engine, "connect")
    def _only_look(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


@dataclass(frozen=True)
class Context:
    """What a database hands to every transaction, and tells after each commit."""

    service: str
    clock: LabClock
    ids: IdMaker
    settings: Settings
    failpoints: Failpoints
    write_outbox: Callable[[Transaction], None]
    committed: Callable[[list[tuple[int, Event]]], None]


@dataclass(frozen=True)
class _Work:
    step: Step[Any, Any]
    command: Any
    answer: "Future[Any]"


class Database:
    """Runs the steps of one service process on its database.

    Args:
        url: SQLAlchemy URL.
        context: clocks, ids, failpoints and the outbox.
    """

    def __init__(self, url: str, context: Context) -> None:
        self._context = context
        self._writer = _Worker(open_engine(url), self._run_one)
        self._reader = _Worker(open_engine(url, "BEGIN"), self._run_one)

    async def run(self, step: Step[Any, A], command: Any) -> A:
        """Run a step and commit.

        Args:
            step: the step.
            command: what it is asked to do.

        Returns:
            The step's answer, after the commit.

        Raises:
            OperationalError: the database is away, full, or locked for too long.
            Refused: a failpoint refused a step that has no code for that.
        """
        return await asyncio.wrap_future(self.submit(step, command))

    def submit(self, step: Step[Any, A], command: Any) -> "Future[A]":
        """The same from a thread: a future of the answer."""
        answer: Future[A] = Future()
        worker = self._reader if step.reads else self._writer
        worker.queue.put(_Work(step, command, answer))
        return answer

    def close(self) -> None:
        """Finish what was queued and close."""
        self._writer.close()
        self._reader.close()

    def _run_one(self, engine: Engine, work: _Work) -> Any:
        for tries in range(1, _TRIES_WHEN_LOCKED + 1):
            try:
                return self._attempt(engine, work.step, work.command)
            except OperationalError as error:
                if tries == _TRIES_WHEN_LOCKED or not _is_lock(error):
                    raise
                time.sleep(0.02 * tries)
        raise AssertionError("unreachable: the last try returns or raises")

    def _attempt(self, engine: Engine, step: Step[Any, Any], command: Any) -> Any:
        context = self._context
        boundary = f"{context.service}.{step.name}."
        try:
            with engine.begin() as connection:
                tx = Transaction(
                    connection, context.clock.now(), wall_ms(), context.ids, context.settings
                )
                answer = step.function(tx, command)
                context.write_outbox(tx)
                if not step.reads:
                    context.failpoints.cross(boundary + "before_commit")
        except Refused as refused:
            if step.failed is None:
                raise
            return Result[Any].no(step.failed, _about(command, refused))
        if step.reads:
            return answer
        context.committed(tx.emitted)
        if context.failpoints.cross(boundary + "after_commit"):
            return self._attempt(engine, step, command)
        return answer


class _Worker:
    """One thread with one queue and one connection at a time."""

    def __init__(self, engine: Engine, run: Callable[[Engine, _Work], Any]) -> None:
        self.queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._engine = engine
        self._run = run
        self._thread = threading.Thread(target=self._loop, daemon=True, name="committer")
        self._thread.start()

    def close(self) -> None:
        self.queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _loop(self) -> None:
        while work := self.queue.get():
            if not work.answer.set_running_or_notify_cancel():
                continue
            try:
                work.answer.set_result(self._run(self._engine, work))
            except Exception as error:  # every error belongs to the one who asked
                work.answer.set_exception(error)


def _about(command: Any, refused: Refused) -> str:
    order_id = getattr(command, "order_id", None)
    return f"order {order_id}: {refused}" if order_id else str(refused)


def _is_lock(error: OperationalError) -> bool:
    return "locked" in str(error.orig) or "deadlock" in str(error.orig).lower()
