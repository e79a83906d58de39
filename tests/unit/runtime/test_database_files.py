"""Runners, readers and other processes on one file: who waits for whom, and who sees what."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from labkit.runtime.db.engines import LOG_BYTES, open_engine, open_reader
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.tables import user
from tests.support.asking import submit
from tests.support.store import BALANCE
from tests.support.transfers import OpenDatabase, balances, broken, locked_once, move, run, spend


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
