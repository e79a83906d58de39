"""What a group keeps for its end, presumes and asks ahead changes nothing of what comes out."""

from pathlib import Path
from typing import Any

import pytest

from labkit.runtime import committer
from labkit.runtime.pending import Pending
from labkit.runtime.statements import Compiled
from labkit.runtime.steps import Transaction, step
from labkit.shop.goods import deduct_stock, find_goods
from labkit.shop.messages import DeductStock, FindGoods
from labkit.shop.tables import DEDUCT, number_log
from tests.unit.cases import WRITING
from tests.unit.grouping import (
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


@step()
def log_and_look(tx: Transaction, order_id: int) -> list[int]:
    """Write a log row, and say which rows there are."""
    row = {"goods_id": 1, "order_id": order_id, "direction": DEDUCT}
    tx.insert(number_log, **row, goods_number=1, log_time=NOON)
    return [row.order_id for row in tx.execute(number_log.select().order_by("order_id"))]


def test_a_step_sees_what_its_group_wrote(tmp_path: Path) -> None:
    """Its own rows, and those of who came before it in the group."""
    with running(tmp_path / "a") as (runner, _):
        runner.failpoints.count = lambda _name: None  # type: ignore[method-assign]
        seen = [one.result(30) for one in runner.together([(log_and_look, 1), (log_and_look, 2)])]
    assert seen == [[0, 1], [0, 1, 2]]


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
