"""A row that somebody's open transaction holds stops nobody but who needs that row."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from labkit.runtime.db.database import Database
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.tables import WAITING
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.steps import step
from labkit.waiting import wait_until
from tests.mysql.conftest import OpenRunner
from tests.support import mysql_steps
from tests.support.asking import submit
from tests.support.store import BALANCE, Store

FIRST, SECOND = 1, 2  # users


@contextmanager
def held(schema: str, sql: str = "UPDATE trade_user SET user_name = 'x' WHERE user_id = 1") -> Any:
    """Hold what a statement locks, for a block."""
    engine = create_engine(schema, isolation_level="READ COMMITTED")
    with engine.connect() as holder:
        holder.execute(text(sql))
        yield
        holder.rollback()
    engine.dispose()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end of a test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def behind(gate: threading.Event) -> Any:
    """A step that keeps the committer busy, so that what comes meanwhile is one group."""

    @step()
    def touch(_tx: Transaction, _command: None) -> None:
        assert gate.wait(timeout=60)

    return touch


def balances(store: Store) -> list[int]:
    return [row["user_money"] for row in store.rows("trade_user")]


def test_of_a_group_only_who_needs_the_row_is_told(
    open_runner: OpenRunner, schema: str, gate: threading.Event
) -> None:
    """Sixty steps go together, every third about a held row: those are told, all others done, and
    nothing of a step that was told is kept."""
    database, store = open_runner("user")
    with held(schema):
        first = submit(database, behind(gate), None)
        users = [FIRST if number % 3 == 0 else SECOND for number in range(60)]
        answers = [submit(database, mysql_steps.touch, user) for user in users]
        gate.set()
        first.result(timeout=60)
        errors = [answer.exception(timeout=60) for answer in answers]
        refusals = [isinstance(error, RowHeld) for error in errors]
        assert refusals == [user == FIRST for user in users]
        assert "trade_user" in str(errors[-3])
    wait_until(lambda: is_done(database, FIRST), "the row is free")
    assert balances(store) == [BALANCE + 1, BALANCE + 40]


def is_done(database: Database, user_id: int) -> bool:
    """Return True if a step got the row; for a moment it is refused unasked."""
    return submit(database, mysql_steps.touch, user_id).exception(timeout=60) is None


def test_a_row_that_is_known_to_be_held_is_not_waited_for(
    open_runner: OpenRunner, schema: str
) -> None:
    """A step that needs it is told at once by then: the server counts no further wait."""
    database, store = open_runner("user")
    with held(schema):
        assert submit(database, mysql_steps.touch, FIRST).exception(timeout=60)
        before = lock_waits(schema)
        for _ in range(3):
            assert isinstance(
                submit(database, mysql_steps.touch, FIRST).exception(timeout=60), RowHeld
            )
            submit(database, mysql_steps.touch, SECOND).result(timeout=60)
        assert lock_waits(schema) == before
    assert balances(store) == [BALANCE, BALANCE + 3]


def test_however_many_wait_for_a_row_the_others_go_on(open_runner: OpenRunner, schema: str) -> None:
    """Of two hundred that wait a few are run again with whoever else comes, and not all of them."""
    database, store = open_runner("user")
    runs: list[int] = []

    @step()
    def touch(tx: Transaction, user_id: int) -> None:
        runs.append(user_id)
        mysql_steps.touch(tx, user_id)

    with held(schema):
        assert submit(database, mysql_steps.touch, FIRST).exception(timeout=60)
        waiting = [submit(database, touch, FIRST) for _ in range(200)]
        for _ in range(5):
            submit(database, mysql_steps.touch, SECOND).result(
                timeout=60
            )  # behind all of them, at first
            before, runs[:] = len(runs), []
        assert before <= 2 * 20
    refusals = [isinstance(future.exception(timeout=60), RowHeld) for future in waiting]
    assert balances(store) == [BALANCE + refusals.count(False), BALANCE + 5]


def test_of_a_table_that_is_held_one_row_is_waited_for(
    open_runner: OpenRunner, schema: str
) -> None:
    """Somebody changes all users by hand: who needs another of them is told without a wait."""
    database, store = open_runner("user")
    with held(schema, "UPDATE trade_user SET user_name = 'x'"):
        before = lock_waits(schema)
        for user_id in (FIRST, SECOND):
            error = submit(database, mysql_steps.touch, user_id).exception(timeout=60)
            assert isinstance(error, RowHeld)
        assert lock_waits(schema) - before == 1
    for user_id in (FIRST, SECOND):
        wait_until(lambda number=user_id: is_done(database, number), "the row is free")
    assert balances(store) == [BALANCE + 1, BALANCE + 1]


def lock_waits(schema: str) -> int:
    """How often a statement has waited for a row."""
    engine = create_engine(schema)
    with engine.connect() as connection:
        sql = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'"
        waits = int(connection.execute(text(sql)).one()[1])
    engine.dispose()
    return waits


def test_what_was_left_behind_holds_nothing(open_runner: OpenRunner, schema: str) -> None:
    """A step that had locked one row and waited for another has given the first back."""
    database, store = open_runner("user")
    with held(schema):
        error = submit(database, mysql_steps.move, (SECOND, FIRST)).exception(timeout=60)
        assert isinstance(error, RowHeld)
        engine = create_engine(schema)
        with engine.begin() as connection:
            free = "SELECT user_id FROM trade_user WHERE user_id = 2 FOR UPDATE NOWAIT"
            assert connection.execute(text(free)).all()
        engine.dispose()
    assert balances(store) == [BALANCE, BALANCE]


def test_a_key_that_is_being_inserted_elsewhere(open_runner: OpenRunner, schema: str) -> None:
    """An open transaction has inserted the row of an event: that event waits, another does not."""
    database, store = open_runner("user")
    submit(database, inbox.keep_failure, failure(7)).result(timeout=60)
    sql = (
        "INSERT INTO trade_mq_consumer_log SELECT group_name, 8, topic, tag, msg_key, body, "
        "body_hash, status, tries, next_try, add_time, done_time, last_error, trace "
        "FROM trade_mq_consumer_log"
    )
    with held(schema, sql):
        handled = inbox.guarded(mysql_steps.note, mysql_steps.Noted)
        assert isinstance(submit(database, handled, failure(8).delivery).exception(60), RowHeld)
        submit(database, handled, failure(9).delivery).result(timeout=60)
    assert {row["event_id"] for row in store.rows("trade_mq_consumer_log")} == {7, 9}


def failure(event_id: int, *, held: bool = False, error: str = "because") -> Failure:
    """An event whose handler raised."""
    delivery = Delivery(
        group="user", event_id=event_id, topic="noted", tag="t", key="1", body='{"order_id": 1}'
    )
    return Failure(delivery=delivery, error=error, held=held)


def test_a_held_row_burns_no_try(open_runner: OpenRunner) -> None:
    """However often an event met a held row, it waits with all its tries before it."""
    database, store = open_runner("user")
    for _ in range(2 * store.settings.retry_limit):
        submit(database, inbox.keep_failure, failure(7, held=True)).result(timeout=60)
    row = store.row("trade_mq_consumer_log")
    assert (row["status"], row["tries"], row["last_error"]) == (WAITING, 0, "because")


def test_a_cause_of_any_length_is_kept(open_runner: OpenRunner) -> None:
    """Strict MySQL refuses what fits no column: the cause is cut, and says how long it was."""
    database, store = open_runner("user")
    for _ in range(store.settings.retry_limit):
        long = failure(7, error="x" * 200_000)
        submit(database, inbox.keep_failure, long).result(timeout=60)
    row = store.row("trade_mq_consumer_log")
    assert len(row["last_error"]) == 2000
    assert row["last_error"].endswith("(200000 characters)")
    assert store.row("trade_mq_producer")["topic"] == "dead_letter"
