"""A group that writes late, presumes and asks together comes out as without it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from labkit.runtime.db.compiled import CompiledStatement
from labkit.runtime.db.deferred import DeferredWrites
from labkit.runtime.db.operations import claim
from labkit.runtime.db.statements import statement
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step
from labkit.shop.codes import Code
from labkit.shop.goods import deduct_stock, find_goods
from labkit.shop.messages import DeductStock, FindGoods
from labkit.shop.states import LogDirection
from labkit.shop.tables import goods, number_log
from tests.support.cases import WRITING
from tests.support.grouping import (
    SECONDS,
    StepCall,
    end_of,
    give_back,
    one_by_one,
    running,
    tables,
    twice_together,
)
from tests.support.store import NOON, STOCK, OpenStore


@pytest.mark.parametrize("name", WRITING)
def test_a_step_twice_in_one_group(tmp_path: Path, name: str) -> None:
    """Two of a group that are the same, and two more later, do what one does: what the group
    presumes of each is proven before it commits."""
    with running(tmp_path / "a", service=WRITING[name][0]) as (runner, store):
        twice_together(runner.together, store, name)


@statement
def all_logged() -> Any:
    """The orders of all rows of the log."""
    return select(number_log.c.order_id).order_by(number_log.c.order_id)


def look_by_core(tx: Transaction) -> Any:
    """Which orders have rows in the log."""
    return list(tx.execute(number_log.select().order_by("order_id")).scalars(1))


def look_by_statement(tx: Transaction) -> Any:
    """The same, asked in the other way."""
    return tx.run(all_logged()).column()


def _row(order_id: int) -> dict[str, Any]:
    direction = LogDirection.DEDUCT if order_id else LogDirection.OPENING
    return {
        "goods_id": 1,
        "order_id": order_id,
        "direction": direction,
        "goods_number": 1,
        "log_time": NOON,
    }


@pytest.mark.parametrize("look", [look_by_core, look_by_statement])
def test_a_step_sees_what_its_group_wrote(tmp_path: Path, look: Any) -> None:
    """Its own rows and those of who came before it in the group, whichever way it asks."""

    @step()
    def tell(tx: Transaction, order_id: int) -> Any:
        tx.insert(number_log, **_row(order_id))
        return look(tx) if order_id == 2 else None

    with running(tmp_path / "a") as (runner, _):
        assert runner.together([(tell, 1), (tell, 2)])[1].result(SECONDS) == [0, 1, 2]


def test_a_refusal_that_may_pass_in_a_group(tmp_path: Path) -> None:
    """A step with an answer is told the same; of one that is to ask again nothing is kept."""
    (_, done), (_, wanted) = calls = deductions(1, 2)

    @step()
    def tell(tx: Transaction, command: DeductStock) -> Any:
        operation = claim(tx, "deduct_stock", command)
        return operation.previous_result or operation.refuse(Code.DEPENDENCY_AWAY, "not now")

    with running(tmp_path / "a") as (runner, _):
        before = end_of(runner.together(calls[:1])[0])
        again, later = runner.together([(tell, done), (tell, wanted)])
        assert end_of(again) == before
        assert later.result(SECONDS).code == Code.DEPENDENCY_AWAY
        assert runner.together(calls[1:])[0].result(SECONDS).success


@statement
def count_as(pieces: int) -> Any:
    """So many pieces, whatever there was."""
    return update(goods).where(goods.c.goods_id == 1).values(goods_number=pieces)


@statement
def one_more() -> Any:
    """A piece more."""
    return update(goods).where(goods.c.goods_id == 1).values(goods_number=goods.c.goods_number + 1)


def test_writes_to_one_table_keep_their_order(tmp_path: Path) -> None:
    """Each step's writes come after those of the steps before it."""

    @step()
    def tell(tx: Transaction, pieces: int) -> None:
        tx.expect_update(count_as(pieces))
        tx.expect_update(one_more())

    with running(tmp_path / "a") as (runner, store):
        for future in runner.together([(tell, 5), (tell, 70)]):
            future.result(SECONDS)
        assert store.row("trade_goods")["goods_number"] == 71


def test_what_does_not_hold_is_found_out(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that takes more than there is ends as one by one: who came first has it; and a group
    of which all holds is not run twice."""
    flushed: list[bool] = []
    flush = DeferredWrites.flush

    def watched(pending: DeferredWrites) -> None:
        flushed.append(False)
        flush(pending)
        flushed[-1] = True

    monkeypatch.setattr(DeferredWrites, "flush", watched)
    alone = open_store("goods")
    groups = [
        deductions(1, STOCK, 2),
        deductions(STOCK, 1, first=11),
        deductions(1, 1, first=21),
        [*deductions(1, first=31), give_back(21)],
    ]
    with running(tmp_path / "a") as (runner, store):
        for group in groups:
            assert [end_of(future) for future in runner.together(group)] == one_by_one(alone, group)
        assert tables(store) == tables(alone)
    assert flushed.count(False) == 2


def deductions(*pieces: int, first: int = 1) -> list[StepCall]:
    """A group of deductions, each for an order of its own."""
    return [
        (deduct_stock, DeductStock(order_id=order_id, goods_id=1, goods_number=number))
        for order_id, number in enumerate(pieces, first)
    ]


def test_lookups_of_a_group_ask_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told what it is told alone, found or not, and there was one query for all."""
    lookups = [(find_goods, FindGoods(goods_id=goods_id)) for goods_id in (1, 2, 1, 3)]
    queries: list[int] = []
    execute = CompiledStatement.execute

    def counting(compiled: CompiledStatement, cursor: Any, values: Any) -> Any:
        queries.append(len(values))
        return execute(compiled, cursor, values)

    monkeypatch.setattr(CompiledStatement, "execute", counting)
    with running(tmp_path / "a") as (runner, store):
        ends = [end_of(future) for future in runner.together(lookups)]
        assert queries == [3]
        assert ends == one_by_one(store, lookups)
