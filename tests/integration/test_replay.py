"""Replaying real purchases: each is sent once, and a history that does not fit is told."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select

from bench.history import breaches
from bench.load import Answer
from bench.purchases import Purchase, purchases, seeds
from bench.replay import send
from labkit.home import Home
from labkit.lab import Lab
from labkit.shop.tables import order
from labkit.stack.supervisor import control
from labkit.waiting import wait_until
from tests.support.db import Done, Tables, ask_status, labkit

pytestmark = pytest.mark.slow

LIMIT = 40
Replayed = tuple[list[Purchase], list[Answer], Path]


def test_the_command_sends_exactly_the_limit_and_checks(running_lab: Lab) -> None:
    """So many purchases, the first ones, one order each; then the history and the invariants."""
    home = running_lab.home.folder
    done = labkit("replay", "--rate", "60", "--limit", str(LIMIT), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{LIMIT} answers" in done.stdout
    assert "0 breaches" in done.stdout
    assert " ms  █" in done.stdout
    rows = Tables(ask_status(home)["databases"]).rows("order", "SELECT * FROM trade_order")
    sent = list(islice(purchases(), LIMIT))
    assert sorted(row["address"] for row in rows) == sorted(purchase.mark for purchase in sent)


def test_the_command_fails_when_an_acknowledged_order_is_gone(running_lab: Lab) -> None:
    """An order that a client was told of and that is no longer there: exit code 1, and which."""
    home = running_lab.home
    ended: list[Done] = []
    words = ("replay", "--rate", "4", "--limit", str(LIMIT))  # time to take one away meanwhile
    command = threading.Thread(target=lambda: ended.append(labkit(*words, home=home.folder)))
    before = pids(home)
    command.start()
    wait_until(lambda: len(before) == len(pids(home) - before), "started afresh", timeout=30)
    tables = Tables(ask_status(home.folder)["databases"])
    confirmed = "SELECT order_id FROM trade_order WHERE order_status = 1"
    order_id = wait_until(lambda: tables.rows("order", confirmed), "an order", timeout=30)[0][
        "order_id"
    ]
    assert tables.write("order", "DELETE FROM trade_order WHERE order_id = :one", one=order_id) == 1
    command.join()
    assert ended[0].returncode == 1
    assert f"was told that order {order_id} is placed; confirmed: none" in ended[0].stdout


def pids(home: Home) -> set[int]:
    """Of the services that are up."""
    return {process["pid"] for process in home.state()["services"] if process["state"] == "up"}


@pytest.fixture(scope="module")
def replayed(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """A history of replayed purchases: what was sent, what was answered, copies of the tables."""
    sent, answers = list(islice(purchases(), LIMIT)), list[Answer]()
    control.tell(running_lab.home, "reset", **seeds(sent).model_dump())
    asyncio.run(send(str(running_lab.client.http.base_url), sent, 60, answers.append))
    running_lab.settle(40)
    folder = tmp_path_factory.mktemp("copy")
    Tables(running_lab.home.state()["databases"]).copy_to(folder)
    return sent, answers, folder


def test_a_true_history_has_no_breach(replayed: Replayed) -> None:
    """Every purchase was answered 200 here, and the tables say so."""
    sent, answers, folder = replayed
    assert [answer.status for answer in answers] == [200] * LIMIT
    assert breaches_of(sent, answers, folder) == []


SPOILED_TABLES = {
    "DELETE FROM trade_order WHERE address = :mark": "is placed; confirmed: none",
    "UPDATE trade_order SET confirm_time = NULL WHERE address = :mark": "confirmed: none",
    "UPDATE trade_order SET order_id = 7 WHERE address = :mark": "is placed; confirmed: {'7'}",
    "UPDATE trade_order SET goods_number = goods_number + 1 WHERE address = :mark": "goods_number",
    "UPDATE trade_order SET address = '' WHERE address = :mark": "that no purchase asked for",
    "INSERT INTO trade_order SELECT 7, user_id, order_status, pay_status, shipping_status, address,"
    " consignee, goods_id, goods_number, goods_price, goods_amount, shipping_fee, order_amount,"
    " coupon_id, coupon_paid, money_paid, pay_amount, add_time, confirm_time, pay_time,"
    " cancel_time, cancel_reason, refund_time"
    " FROM trade_order WHERE address = :mark": "several confirmed",
}


@pytest.mark.parametrize("sql", SPOILED_TABLES)
def test_a_table_that_does_not_fit_is_told(replayed: Replayed, sql: str, tmp_path: Path) -> None:
    """An order gone, undone, exchanged, altered, invented or doubled is a breach, in words."""
    sent, answers, folder = replayed
    spoiled = tmp_path / "spoiled"
    shutil.copytree(folder, spoiled)
    tables = Tables({"order": f"sqlite:///{spoiled / 'order'}"})
    assert tables.write("order", sql, mark=sent[5].mark) == 1
    assert any(SPOILED_TABLES[sql] in answer for answer in breaches_of(sent, answers, spoiled))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda answer: [answer._replace(status=422)], "was refused with 422, and order"),
        (lambda _: [], "nothing is known of its answer"),
        (lambda answer: [answer, answer._replace(number=LIMIT + 1)], "answer to nothing"),
    ],
)
def test_an_answer_that_does_not_fit_is_told(
    replayed: Replayed, spoil: Callable[[Answer], list[Answer]], message: str
) -> None:
    """An order that stands though it was refused, and an answer that is missing or unasked for."""
    sent, answers, folder = replayed
    spoiled = [*answers[:5], *spoil(answers[5]), *answers[6:]]
    assert [answer for answer in breaches_of(sent, spoiled, folder) if message in answer]


def test_no_answer_proves_nothing(replayed: Replayed) -> None:
    """A client that heard nothing, 202 or 503 may have the order or not: that is no breach."""
    sent, answers, folder = replayed
    for status in (0, 202, 503):
        assert (
            breaches_of(sent, [answer._replace(status=status) for answer in answers], folder) == []
        )


def breaches_of(sent: list[Purchase], answers: list[Answer], folder: Path) -> list[str]:
    """Return what the check says of a history, on copies of the tables."""
    engine = create_engine(f"sqlite:///{folder / 'order'}")
    with engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(order))]
    engine.dispose()
    return list(breaches(rows, sent, answers))
