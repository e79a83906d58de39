"""The database runner: what a step did is committed whole or not at all, and once."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit.runtime.db.committer import run_blocking
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.sql_database import LeftBehind, SqlDatabase
from labkit.runtime.injection.failpoints import FailpointStore, Refused
from labkit.shop.messages import DeductStock
from tests.support.asking import submit
from tests.support.cases import WRITING, command_of
from tests.support.store import BALANCE, STOCK
from tests.support.transfers import TOLD, OpenDatabase, balances, run, spend, tell_and_fail


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
