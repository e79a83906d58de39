"""The database runner: what a step did is committed whole or not at all, and once."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from labkit.faults.points import catalogue
from labkit.runtime.db.committer import run_blocking
from labkit.runtime.db.database import Database
from labkit.runtime.db.engines import LOG_BYTES, open_engine, open_reader
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.db.sql_database import LeftBehind, SqlDatabase
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore, Refused
from labkit.runtime.messaging import outbox
from labkit.runtime.steps import Event, step
from labkit.shop.messages import DeductStock, OrderCancelled
from labkit.shop.tables import goods, user
from labkit.shop.wiring import GROUPS
from tests.support.asking import submit
from tests.support.cases import WRITING, command_of
from tests.support.store import BALANCE, STOCK, Store

OpenDatabase = Callable[[str], tuple[Database, Store]]
TOLD: list[tuple[int, Event, str]] = []


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[OpenDatabase]:
    """Opens the runner of a service on the one file of that service, as another process would."""
    opened: list[Database] = []
    stores: dict[str, Store] = {}

    def open_one(service: str) -> tuple[Database, Store]:
        url = f"sqlite:///{tmp_path / service}.sqlite"
        store = stores.get(service) or Store(service, tmp_path, url)
        stores[service] = store
        points = [failpoint for failpoint in catalogue().values() if failpoint.service == service]
        for own in (move, spend, tell_and_fail, locked_once, broken):
            points += [Failpoint(service, own.name, boundary) for boundary in KINDS["commit"]]
        context = TransactionDefaults(
            service=service,
            clock=store.clock,
            ids=store.ids,
            settings=store.settings,
            failpoints=Failpoints(tmp_path, f"{service}-1", points),
            write_outbox=outbox.event_writer(GROUPS),
            committed=TOLD.extend,
        )
        opened.append(Database(url, context))
        return opened[-1], store

    TOLD.clear()
    yield open_one
    for database in opened:
        database.close()
    for store in stores.values():
        store.engine.dispose()


def run(database: Database, which: Any, command: Any) -> Any:
    return submit(database, which, command).result(timeout=60)


def balances(store: Store) -> list[int]:
    return [row["user_money"] for row in store.rows("trade_user")]


@step()
def move(tx: Transaction, cents: int) -> None:
    """Move cents from user 1 to user 2."""
    for user_id, change in ((1, -cents), (2, cents)):
        values = {"user_money": user.c.user_money + change}
        tx.execute(update(user).where(user.c.user_id == user_id).values(**values))


@step()
def spend(tx: Transaction, cents: int) -> None:
    """Read the balance of user 1 and write it back lowered: correct only if nobody is between."""
    balance = tx.execute(select(user.c.user_money).where(user.c.user_id == 1)).scalar_one()
    tx.execute(update(user).where(user.c.user_id == 1).values(user_money=balance - cents))


@step()
def tell_and_fail(tx: Transaction, _command: None) -> None:
    """Change, tell, and raise."""
    tx.execute(update(goods).values(goods_number=0))
    tx.emit(OrderCancelled(order_id=1))
    raise ZeroDivisionError("at the very end")


@step()
def locked_once(tx: Transaction, tries: list[int]) -> None:
    """Fail with a lock at the first try, after having written."""
    move(tx, 1)
    tries.append(1)
    if len(tries) == 1:
        raise OperationalError("commit", None, sqlite3.OperationalError("database is locked"))


@step()
def broken(_tx: Transaction, error: tuple[str, list[int]]) -> None:
    """Fail with an error of the database, always."""
    error[1].append(1)
    raise OperationalError("commit", None, sqlite3.OperationalError(error[0]))


def test_a_step_that_raises_leaves_nothing(open_database: OpenDatabase) -> None:
    """Neither its change nor its event stays, nobody is told, and the next step works."""
    database, store = open_database("goods")
    before = store.everything()

    with pytest.raises(ZeroDivisionError):
        run(database, tell_and_fail, None)

    assert store.everything() == before
    assert TOLD == []
    take = DeductStock(order_id=1, goods_id=1, goods_number=1)
    assert run(database, WRITING["goods.deduct_stock"][1], take).success


def test_an_answer_comes_after_the_commit(open_database: OpenDatabase, tmp_path: Path) -> None:
    """When a step is answered, who opens the file from outside sees what it did."""
    database, _ = open_database("goods")
    take = DeductStock(order_id=1, goods_id=1, goods_number=3)
    asyncio.run(database.run(WRITING["goods.deduct_stock"][1], take))
    with sqlite3.connect(tmp_path / "goods.sqlite") as outside:
        assert outside.execute("SELECT goods_number FROM trade_goods").fetchone() == (STOCK - 3,)


def test_what_is_told_was_committed(open_database: OpenDatabase) -> None:
    """The relay is handed an event after its commit, with the id that stands in the outbox."""
    database, store = open_database("order")
    command = command_of("order.cancel_failed", store)
    run(database, WRITING["order.cancel_failed"][1], command)
    assert [event_id for event_id, *_ in TOLD] == [store.row("trade_mq_producer")["event_id"]]


def test_two_writers_lose_no_update(open_database: OpenDatabase) -> None:
    """Two processes that read and then write the same row, at once, count every change."""
    (first, store), (other, _) = open_database("user"), open_database("user")
    answers = [submit(database, spend, 1) for _ in range(60) for database in (first, other)]
    for answer in answers:
        answer.result(timeout=60)
    assert balances(store) == [BALANCE - 120, BALANCE]


def test_a_reader_sees_one_moment(open_database: OpenDatabase) -> None:
    """A step that reads sees all of a change or nothing of it, and holds up no writer."""
    database, _ = open_database("user")
    seen_first, moved = threading.Event(), threading.Event()

    @step(reads=True)
    def look(tx: Transaction, _command: None) -> list[int]:
        of = select(user.c.user_money).where
        first = tx.execute(of(user.c.user_id == 1)).scalar_one()
        seen_first.set()
        assert moved.wait(timeout=60), "the writer waited for the reader"
        return [first, tx.execute(of(user.c.user_id == 2)).scalar_one()]

    looking = submit(database, look, None)
    assert seen_first.wait(timeout=60)
    run(database, move, 100)
    moved.set()

    assert looking.result(timeout=60) == [BALANCE, BALANCE]


def test_who_asks_behind_writes_sees_them(open_database: OpenDatabase) -> None:
    """A command queued before the question is in the answer."""
    database, _ = open_database("user")

    @step(reads=True)
    def look(tx: Transaction, _command: None) -> int:
        only = select(user.c.user_money).where(user.c.user_id == 1)
        return int(tx.execute(only).scalar_one())

    async def ask() -> int:
        for _ in range(200):
            database.ask(spend, 1)
        return await database.ask(look, None, behind_writes=True)

    assert asyncio.run(ask()) == BALANCE - 200


def test_a_reader_cannot_write(open_database: OpenDatabase, tmp_path: Path) -> None:
    """The engine of who only looks refuses to change anything."""
    open_database("user")
    engine = open_reader(f"sqlite:///{tmp_path / 'user'}.sqlite")
    with pytest.raises(OperationalError, match="readonly"), engine.begin() as connection:
        connection.execute(update(user).values(user_money=0))
    engine.dispose()


def test_a_commit_is_on_disk_when_it_returns(open_database: OpenDatabase) -> None:
    """Durability rests on the write-ahead log with full synchronisation: both are set."""
    database, _ = open_database("user")

    @step(reads=True)
    def pragmas(tx: Transaction, _command: None) -> tuple[Any, ...]:
        ask = tx.connection.exec_driver_sql
        return tuple(ask(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous"))

    assert run(database, pragmas, None) == ("wal", 2)


def test_the_log_is_short_again_after_a_reader_that_stayed(tmp_path: Path) -> None:
    """While it stays, the write-ahead log grows with each commit; the next ones cut it."""
    file = tmp_path / "order.sqlite"
    writer, reader = open_engine(f"sqlite:///{file}"), open_reader(f"sqlite:///{file}")
    log = file.with_name("order.sqlite-wal")

    def write(times: int) -> None:
        for _ in range(times):
            with writer.begin() as connection:
                connection.exec_driver_sql("INSERT INTO filling VALUES (zeroblob(100000))")

    with writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE filling (bytes BLOB)")
    with reader.begin() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM filling").all()
        write(100)
        assert log.stat().st_size > 2 * LOG_BYTES
    write(3)
    assert log.stat().st_size <= LOG_BYTES
    for engine in (writer, reader):
        engine.dispose()


def test_a_locked_database_is_asked_again(open_database: OpenDatabase) -> None:
    """A lock undoes the try and is tried again: the step's change is there once."""
    database, store = open_database("user")
    tries: list[int] = []
    run(database, locked_once, tries)
    assert len(tries) == 2
    assert balances(store) == [BALANCE - 1, BALANCE + 1]


def test_a_writer_waits_for_another_process(open_database: OpenDatabase, tmp_path: Path) -> None:
    """While another process holds the file, a step waits, and runs when the file is free."""
    database, store = open_database("user")
    other = sqlite3.connect(tmp_path / "user.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = submit(database, move, 100)
    other.execute("UPDATE trade_user SET user_money = user_money - 1")
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    waiting.result(timeout=60)
    assert balances(store) == [BALANCE - 101, BALANCE + 99]


@pytest.mark.parametrize(("text", "tries"), [("database is locked", 5), ("disk I/O error", 1)])
def test_trying_again_has_a_limit(open_database: OpenDatabase, text: str, tries: int) -> None:
    """A lock that stays is an error after five tries, any other error at once."""
    database, _ = open_database("user")
    tried: list[int] = []
    with pytest.raises(OperationalError, match=text):
        run(database, broken, (text, tried))
    assert len(tried) == tries


@pytest.mark.parametrize("name", WRITING)
def test_a_refused_commit(open_database: OpenDatabase, tmp_path: Path, name: str) -> None:
    """A failpoint that refuses a commit undoes the step: it answers with its own code where it
    has one, raises where it has none, and applies when it is run again."""
    service, which, _ = WRITING[name]
    database, store = open_database(service)
    command = command_of(name, store)
    before = store.everything()
    FailpointStore(tmp_path).arm(f"{service}.{which.name}.before_commit", "refuse")

    if which.failed:
        assert run(database, which, command).code == which.failed
    else:
        with pytest.raises(Refused):
            run(database, which, command)

    assert store.everything() == before
    assert TOLD == []
    run(database, which, command)
    assert store.everything() != before


@pytest.mark.parametrize("name", WRITING)
def test_a_doubled_commit(open_database: OpenDatabase, tmp_path: Path, name: str) -> None:
    """A failpoint that runs a step twice leaves what one run leaves."""
    service, which, _ = WRITING[name]
    database, store = open_database(service)
    command = command_of(name, store)
    told_before = store.emitted()
    FailpointStore(tmp_path).arm(f"{service}.{which.name}.after_commit", "duplicate")

    doubled = run(database, which, command)
    after = store.everything()
    again = run(database, which, command)

    assert FailpointStore(tmp_path).armed() == {}
    assert store.everything() == after
    assert again == doubled
    events = [(event.topic, str(event.order_id)) for _, event, _ in TOLD]
    assert [*told_before, *events] == store.emitted()


def test_a_doubled_step_really_runs_twice(open_database: OpenDatabase, tmp_path: Path) -> None:
    """A step without an operation key shows what the failpoint does: its change is there twice."""
    database, store = open_database("user")
    FailpointStore(tmp_path).arm("user.spend.after_commit", "duplicate")
    run(database, spend, 100)
    assert balances(store) == [BALANCE - 200, BALANCE]


def test_closing_finishes_what_was_queued(open_database: OpenDatabase) -> None:
    """Whoever was queued before the end is answered, and the change is there."""
    database, store = open_database("user")
    answers = [submit(database, spend, 1) for _ in range(20)]
    with ThreadPoolExecutor(1) as thread:
        thread.submit(database.close).result(timeout=60)
    assert all(answer.done() for answer in answers)
    assert balances(store)[0] == BALANCE - 20


def test_a_transaction_that_is_left_behind_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is given up, its step is refused for now, and the next transaction commits on
    a new connection. (What the server does about it is tested on MySQL.)"""
    database = SqlDatabase(open_engine(f"sqlite:///{tmp_path / 'left.sqlite'}"))
    ended: list[int] = []
    monkeypatch.setattr(database, "end_left_behind", ended.append)
    used = []

    async def run(error: Exception | None) -> None:
        async with database.transaction() as session:
            used.append(session.connection)
            session.connection.exec_driver_sql("CREATE TABLE made (number)")
            if error:
                raise error

    with pytest.raises(RowHeld, match="ask again"):
        run_blocking(run(LeftBehind(7)))
    run_blocking(run(None))
    assert ended == [7]
    assert used[0] is not used[1]
    assert used[0].closed
    database.close()
