"""The database runner on MySQL: what the server does to it, and what becomes of the steps."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from labkit.runtime.db.database import Database
from labkit.runtime.db.engines import open_reader
from labkit.runtime.db.errors import ErrorKind, RowHeld, kind_of
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.messages import DeductStock
from labkit.shop.tables import user
from labkit.waiting import wait_until
from tests.mysql.conftest import OpenRunner
from tests.support import mysql_steps
from tests.support.asking import submit
from tests.support.cases import WRITING
from tests.support.mysqld import Server
from tests.support.store import BALANCE, Store

TAKE = WRITING["goods.deduct_stock"][1]


def run(database: Database, which: Any, command: Any) -> Any:
    return submit(database, which, command).result(timeout=60)


def balances(store: Store) -> list[int]:
    store.engine.dispose()  # what the server did to the runner it did to the test as well
    return [row["user_money"] for row in store.rows("trade_user")]


def said(mysql: Server, name: str) -> int:
    """One of the server's own counters."""
    engine = create_engine(mysql.url)
    with engine.connect() as connection:
        row = connection.exec_driver_sql(f"SHOW GLOBAL STATUS LIKE '{name}'").one()
    engine.dispose()
    return int(row[1])


def how(answer: "Future[Any]") -> ErrorKind:
    """Return what the error of a step says; it must have one."""
    error = answer.exception(timeout=60)
    assert isinstance(error, DBAPIError | RowHeld)
    return kind_of(error)


def test_two_that_lock_crosswise_both_come_through(open_runner: OpenRunner, mysql: Server) -> None:
    """A deadlock undoes one of them, which is run again: the server saw some, no caller did."""
    (first, store), (other, _) = open_runner("user"), open_runner("user")
    before, answers, rounds = said(mysql, "Innodb_deadlocks"), [], 0
    while said(mysql, "Innodb_deadlocks") == before:
        answers += [submit(first, mysql_steps.move, (1, 2)) for _ in range(50)]
        answers += [submit(other, mysql_steps.move, (2, 1)) for _ in range(50)]
        for answer in answers:
            answer.result(timeout=60)
        rounds += 1
        assert rounds < 100, "they never met"
    assert balances(store) == [BALANCE, BALANCE]


def test_a_row_that_is_held_holds_up_who_needs_it(open_runner: OpenRunner, schema: str) -> None:
    """Of one group, who needs the row is told after a while; its neighbour is done."""
    database, store = open_runner("user")
    engine = create_engine(schema)
    with engine.connect() as holder:
        holder.execute(text("UPDATE trade_user SET user_money = user_money WHERE user_id = 1"))
        gate = threading.Event()
        first = submit(database, _wait_for(gate), None)
        held, free = (submit(database, mysql_steps.touch, user_id) for user_id in (1, 2))
        gate.set()
        first.result(timeout=60)
        free.result(timeout=60)
        assert how(held) is ErrorKind.HELD
        holder.rollback()
    engine.dispose()
    free = lambda: submit(database, mysql_steps.touch, 1).exception(timeout=60) is None  # noqa: E731  # asks
    wait_until(free, "the row is free")
    assert balances(store) == [BALANCE + 1, BALANCE + 1]


def _wait_for(gate: threading.Event) -> Any:
    @step(reads=False)
    def touch(_tx: Transaction, _command: None) -> None:
        assert gate.wait(timeout=60)

    return touch


def test_a_connection_that_was_cut_is_replaced(open_runner: OpenRunner, mysql: Server) -> None:
    """The server drops an idle connection: the next step does not notice."""
    database, store = open_runner("user")
    run(database, mysql_steps.touch, 1)
    engine = create_engine(mysql.url)
    with engine.connect() as admin:
        mine = "SELECT id FROM information_schema.processlist WHERE db = 'one_test'"
        ids = list(admin.exec_driver_sql(mine).scalars())
        for number in ids:
            admin.exec_driver_sql(f"KILL CONNECTION {number}")
    engine.dispose()
    assert ids
    run(database, mysql_steps.touch, 1)
    assert run(database, mysql_steps.balance, 1) == BALANCE + 2
    assert balances(store)[0] == BALANCE + 2


def test_killed_under_load_it_loses_nothing(open_runner: OpenRunner, mysql: Server) -> None:
    """Kill −9 in the middle of 400 deductions: asked again, each is there once, answered or not."""
    database, store = open_runner("goods")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE trade_goods SET goods_number = 1000"))
    commands = [DeductStock(order_id=n, goods_id=1, goods_number=1) for n in range(1, 401)]
    answers = [submit(database, TAKE, command) for command in commands]
    answers[50].result(timeout=60)
    mysql.kill()
    failed = [answer.exception(timeout=60) for answer in answers]
    mysql.start()
    assert any(failed), "all were done before the server died"
    assert {kind_of(error) for error in failed if error} <= {ErrorKind.LOST, ErrorKind.AWAY}
    again = [submit(database, TAKE, command) for command in commands]
    assert all(answer.result(timeout=60).success for answer in again)
    store.engine.dispose()
    assert store.row("trade_goods")["goods_number"] == 600
    assert len(store.rows("trade_goods_number_log", direction="deduct")) == 400


def test_a_server_that_hangs_is_not_waited_for_long(open_runner: OpenRunner, mysql: Server) -> None:
    """Paused, it answers nobody: the step fails in seconds, and works when the server goes on."""
    database, store = open_runner("user")
    run(database, mysql_steps.touch, 1)
    mysql.pause()
    hanging = submit(database, mysql_steps.touch, 2)
    assert how(hanging) in (ErrorKind.LOST, ErrorKind.AWAY)
    mysql.resume()
    run(database, mysql_steps.touch, 1)
    assert balances(store)[0] == BALANCE + 2


def test_what_does_not_fit_is_refused(open_runner: OpenRunner) -> None:
    """Strict mode: a name that is too long is an error and not cut; Chinese and emoji fit."""
    database, store = open_runner("goods")
    with pytest.raises(DataError):
        run(database, mysql_steps.name_goods, "x" * 101)
    run(database, mysql_steps.name_goods, "华为P30 📱")
    assert store.row("trade_goods")["goods_name"] == "华为P30 📱"


def test_who_asks_behind_writes_sees_them(open_runner: OpenRunner) -> None:
    """Commands queued before the question, and commits of another instance, are in it."""
    (database, _), (other, _) = open_runner("user"), open_runner("user")
    run(other, mysql_steps.touch, 1)

    async def ask() -> int:
        for _ in range(200):
            database.ask(mysql_steps.touch, 1)
        return await database.ask(mysql_steps.balance, 1, behind_writes=True)

    assert asyncio.run(ask()) == BALANCE + 201


def test_who_reads_sees_one_moment_and_cannot_write(open_runner: OpenRunner, schema: str) -> None:
    """Readers have a snapshot and no right to change anything, whether a step or a tool."""
    database, store = open_runner("user")
    with pytest.raises(OperationalError, match="READ ONLY"):
        run(database, mysql_steps.write_in_a_read, None)
    reader = open_reader(schema)
    with reader.begin() as connection:
        before = connection.execute(user.select()).all()
        run(database, mysql_steps.touch, 1)
        assert connection.execute(user.select()).all() == before
    reader.dispose()
    assert balances(store)[0] == BALANCE + 1
