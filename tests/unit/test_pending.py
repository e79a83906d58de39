"""What a group keeps for its end, presumes and asks ahead changes nothing of what comes out."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from labkit.runtime import committer
from labkit.runtime.pending import Pending
from labkit.runtime.statements import Compiled, statement
from labkit.runtime.steps import Transaction, step
from labkit.shop.goods import deduct_stock, find_goods
from labkit.shop.messages import DeductStock, FindGoods
from labkit.shop.tables import DEDUCT, OPENING, number_log
from tests.unit.cases import WRITING
from tests.unit.grouping import (
    SECONDS,
    Asked,
    end_of,
    give_back,
    one_by_one,
    running,
    tables,
    twice_together,
)
from tests.unit.store import NOON, STOCK, OpenStore


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
    direction = DEDUCT if order_id else OPENING
    return {"goods_id": 1, "order_id": order_id, "direction": direction, "goods_number": 1,
            "log_time": NOON}  # fmt: skip


@pytest.mark.parametrize("look", [look_by_core, look_by_statement])
def test_a_step_sees_what_its_group_wrote(tmp_path: Path, look: Any) -> None:
    """Its own rows and those of who came before it in the group, whichever way it asks."""

    @step()
    def tell(tx: Transaction, order_id: int) -> Any:
        tx.insert(number_log, **_row(order_id))
        return look(tx) if order_id == 2 else None

    with running(tmp_path / "a") as (runner, _):
        assert runner.together([(tell, 1), (tell, 2)])[1].result(SECONDS) == [0, 1, 2]


@pytest.mark.parametrize("insert", [Transaction.insert, Transaction.insert_once])
def test_writes_to_one_table_keep_their_order(tmp_path: Path, insert: Any) -> None:
    """An update does not reach the row that is inserted after it."""

    @step()
    def tell(tx: Transaction, order_id: int) -> None:
        tx.note(all_more())
        insert(tx, number_log, **_row(order_id))

    with running(tmp_path / "a") as (runner, store):
        for one in runner.together([(tell, 1), (tell, 2)]):
            one.result(SECONDS)
        pieces = [row["goods_number"] for row in store.rows("trade_goods_number_log")]
    assert pieces == [STOCK + 2, 2, 1]


@statement
def all_more() -> Any:
    """A piece more in every row of the log."""
    return update(number_log).values(goods_number=number_log.c.goods_number + 1)


def deductions(*pieces: int, first: int = 1) -> list[Asked]:
    """A group of deductions, each for an order of its own."""
    return [(deduct_stock, DeductStock(order_id=order_id, goods_id=1, goods_number=number))
            for order_id, number in enumerate(pieces, first)]  # fmt: skip


class Counted:
    """How often groups presumed, and how often in vain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.presumed = self.in_vain = 0

        counted = self

        class Counting(Pending):
            def __init__(self, cursor: Any) -> None:
                super().__init__(cursor)
                counted.presumed += 1

            def flush(self, tables: Any = None) -> None:
                try:
                    super().flush(tables)
                except Exception:
                    counted.in_vain += 1
                    raise

        monkeypatch.setattr(committer, "Pending", Counting)


def test_where_much_is_refused_nothing_is_presumed(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first refusal costs a group its presumptions; the next groups make none, until one has
    come through without a refusal. All end as one by one."""
    counted, alone = Counted(monkeypatch), open_store("goods")
    groups = [
        deductions(1, STOCK + 1),
        deductions(STOCK + 1, 1, first=11),
        deductions(1, 1, first=21),
        [*deductions(1, first=31), give_back(21)],
    ]
    counts = []
    with running(tmp_path / "a") as (runner, store):
        for group in groups:
            assert [end_of(one) for one in runner.together(group)] == one_by_one(alone, group)
            counts.append((counted.presumed, counted.in_vain))
        assert tables(store) == tables(alone)
    assert counts == [(1, 1), (1, 1), (1, 1), (2, 1)]


def test_who_reads_together_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told what it is told alone, found or not, and there was one query for all."""
    asked = [(find_goods, FindGoods(goods_id=goods_id)) for goods_id in (1, 2, 1, 3)]
    queries: list[int] = []
    union = Compiled.execute_union

    def counting(compiled: Compiled, cursor: Any, many: Any) -> Any:
        queries.append(len(many))
        return union(compiled, cursor, many)

    monkeypatch.setattr(Compiled, "execute_union", counting)
    monkeypatch.setattr(Compiled, "execute", None)
    with running(tmp_path / "a") as (runner, store):
        ends = [end_of(one) for one in runner.together(asked)]
        monkeypatch.undo()
        assert ends == one_by_one(store, asked)
    assert queries == [3]
