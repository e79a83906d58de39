"""Groups on MySQL: what they presume is proven, and they say far less to the server."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from labkit.runtime.db.database import Database
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.codes import Code
from labkit.shop.goods import deduct_stock, find_goods
from labkit.shop.messages import DeductStock, FindGoods
from tests.mysql.conftest import OpenRunner
from tests.mysql.test_runner import said
from tests.support.asking import submit
from tests.support.cases import WRITING
from tests.support.grouping import StepCall, give_back, take, twice_together
from tests.support.mysqld import Server
from tests.support.store import STOCK, Store


class Groups:
    """Groups of steps on one runner.

    Args:
        database: the runner.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def together(self, calls: list[StepCall]) -> list["Future[Any]"]:
        """Run steps as one group."""
        begun, gate = threading.Event(), threading.Event()

        @step(reads=calls[0][0].reads)
        def touch(_tx: Transaction, _command: None) -> None:
            begun.set()
            assert gate.wait(timeout=60)

        submit(self._database, touch, None)
        assert begun.wait(timeout=60)
        answers = [submit(self._database, *call) for call in calls]
        gate.set()
        return answers


@pytest.mark.parametrize("name", WRITING)
def test_a_step_twice_in_one_group(open_runner: OpenRunner, name: str) -> None:
    """Two of a group that are the same, and two more later, do what one does."""
    database, store = open_runner(WRITING[name][0])
    twice_together(Groups(database).together, store, name)


def test_a_group_says_little(open_runner: OpenRunner, mysql: Server) -> None:
    """Its rows of one table are one statement, whose number does not grow with the group; what its
    readers ask is one query."""
    database, store = open_runner("goods")
    groups = Groups(database)
    submit(database, *_one("reads", 1, 1)).result(timeout=60)  # the connection is there
    for which, counter in (("writes", "Com_insert"), ("reads", "Com_select")):
        spoken = {}
        for size in (2, STOCK // 2):
            before = said(mysql, counter)
            calls = [_one(which, size, number) for number in range(size)]
            assert all(future.result(timeout=60).success for future in groups.together(calls))
            spoken[size] = said(mysql, counter) - before
        assert len(set(spoken.values())) == 1, (which, spoken)
    assert store.row("trade_goods")["goods_number"] == STOCK - 2 - STOCK // 2


def _one(which: str, size: int, number: int) -> StepCall:
    if which == "reads":
        return find_goods, FindGoods(goods_id=1)
    return take(100 * size + number, 1)


def test_a_group_that_has_claimed_nothing_yet_meets_a_compensation(
    open_runner: OpenRunner,
) -> None:
    """Another instance blocks an order that a group has presumed to be new: the group finds out
    before it commits, and nothing is taken for that order; its neighbour is done."""
    (first, store), (other, _) = open_runner("goods"), open_runner("goods")
    entered, leave = threading.Event(), threading.Event()

    @step()
    def touch(tx: Transaction, command: DeductStock) -> Any:
        answer = deduct_stock(tx, command)
        entered.set()
        assert leave.wait(timeout=60)
        return answer

    late, neighbour = Groups(first).together([(touch, take(1, 1)[1]), take(2, 3)])
    assert entered.wait(timeout=60)
    submit(other, *give_back(1)).result(timeout=60)
    leave.set()
    assert late.result(timeout=60).code == Code.ORDER_CANCELLED
    assert neighbour.result(timeout=60).success
    assert _left(store) == STOCK - 3
    assert store.outcome("deduct_stock", 1) == ("blocked", 0)


def test_two_instances_that_presume_take_no_more_than_there_is(open_runner: OpenRunner) -> None:
    """Groups of two instances deduct at once, more than the stock: each piece goes once."""
    runners = [open_runner("goods") for _ in range(2)]
    answers = [
        submit(database, *take(100 * at + number, 1))
        for number in range(1, STOCK + 1)
        for at, (database, _) in enumerate(runners)
    ]
    deductions = sum(answer.result(timeout=60).success for answer in answers)
    store = runners[0][1]
    assert (deductions, _left(store)) == (STOCK, 0)
    assert len(store.rows("trade_goods_number_log", direction="deduct")) == STOCK


def _left(store: Store) -> int:
    return int(store.row("trade_goods")["goods_number"])
