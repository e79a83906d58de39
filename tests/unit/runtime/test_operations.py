"""Operations: every step once, every compensation before, after and without its step.

The same hazards for each pair of a step and its compensation, whatever it takes.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.results import Message
from labkit.runtime.db.operations import claim
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Step, step
from labkit.shop import coupons, goods, users
from labkit.shop.codes import Code
from labkit.shop.messages import (
    DeductBalance,
    DeductStock,
    OrderCancelled,
    OrderReturned,
    UseCoupon,
)
from labkit.shop.wiring import SERVICES
from tests.support.store import BALANCE, COUPON, STOCK, OpenStore

ORDER = 1001


@dataclass(frozen=True)
class Pair:
    """A step, what takes it back, and commands: one that can be met, another, one that cannot."""

    service: str
    step: Step[Any, Any]
    compensation: Step[Any, None]
    command: Any
    other: Any
    refused: Any

    @property
    def operation(self) -> str:
        """The name under which the step claims its operation."""
        return self.step.name


PAIRS = {
    pair.service: pair
    for pair in (
        Pair(
            "goods",
            goods.deduct_stock,
            goods.return_stock,
            DeductStock(order_id=ORDER, goods_id=1, goods_number=3),
            DeductStock(order_id=ORDER, goods_id=1, goods_number=4),
            DeductStock(order_id=ORDER, goods_id=1, goods_number=STOCK + 1),
        ),
        Pair(
            "coupon",
            coupons.use_coupon,
            coupons.return_coupon,
            UseCoupon(order_id=ORDER, coupon_id=1, user_id=1, coupon_price=COUPON),
            UseCoupon(order_id=ORDER, coupon_id=2, user_id=2, coupon_price=COUPON),
            UseCoupon(order_id=ORDER, coupon_id=2, user_id=1, coupon_price=COUPON),
        ),
        Pair(
            "user",
            users.deduct_balance,
            users.return_balance,
            DeductBalance(order_id=ORDER, user_id=1, money_paid=100_00),
            DeductBalance(order_id=ORDER, user_id=1, money_paid=200_00),
            DeductBalance(order_id=ORDER, user_id=1, money_paid=BALANCE + 1),
        ),
    )
}
each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
CANCELLED = OrderCancelled(order_id=ORDER)


def test_every_compensation_is_among_the_pairs() -> None:
    """Whatever the wiring calls when an order is cancelled or returned is proven below; what the
    pay service does then, in test_payments.py."""
    wired = {
        service.handlers[event]
        for service in SERVICES.values()
        if service.name not in ("order", "pay")
        for event in (OrderCancelled, OrderReturned)
        if event in service.handlers
    }
    assert wired == {pair.compensation for pair in PAIRS.values()}


@each_pair
def test_a_step_runs_once(open_store: OpenStore, pair: Pair) -> None:
    """Run again with the same body, a step gives the stored answer and changes nothing."""
    store = open_store(pair.service)
    first = store.run(pair.step, pair.command)
    before = store.everything()
    store.wait(60)

    assert store.run(pair.step, pair.command) == first
    assert first.success
    assert store.everything() == before


@each_pair
def test_another_body_under_the_same_key_is_refused(open_store: OpenStore, pair: Pair) -> None:
    """The same order with another content is refused, and nothing changes."""
    store = open_store(pair.service)
    store.run(pair.step, pair.command)
    before = store.everything()

    assert store.run(pair.step, pair.other).code == Code.IDEMPOTENCY_KEY_REUSED
    assert store.everything() == before
    assert store.run(pair.step, pair.command).success


@each_pair
def test_a_refusal_is_stored(open_store: OpenStore, pair: Pair) -> None:
    """Run again, a refused step gives the same refusal and changes nothing."""
    store = open_store(pair.service)
    opening = store.business()
    first = store.run(pair.step, pair.refused)
    before = store.everything()

    assert store.run(pair.step, pair.refused) == first
    assert not first.success
    assert store.everything() == before
    assert store.business() == opening


@each_pair
def test_compensation_before_its_step(open_store: OpenStore, pair: Pair) -> None:
    """An empty compensation gives nothing back, and the late step (hanging try) is refused."""
    store = open_store(pair.service)
    opening = store.business()
    store.run(pair.compensation, CANCELLED)
    assert store.outcome(pair.operation, ORDER) == ("blocked", 0)

    late = store.run(pair.step, pair.command)

    assert late.code == Code.ORDER_CANCELLED
    store.run(pair.compensation, CANCELLED)
    assert store.outcome(pair.operation, ORDER) == ("blocked", 0)
    assert store.business() == opening


@each_pair
def test_compensation_after_its_step_and_again(open_store: OpenStore, pair: Pair) -> None:
    """The second compensation changes nothing, and the step cannot come back to life."""
    store = open_store(pair.service)
    store.run(pair.step, pair.command)
    amount = store.outcome(pair.operation, ORDER)[1]
    store.run(pair.compensation, CANCELLED)
    before = store.everything()
    store.wait(60)

    store.run(pair.compensation, CANCELLED)
    assert store.run(pair.step, pair.command).code == Code.ORDER_CANCELLED
    assert store.everything() == before
    assert store.outcome(pair.operation, ORDER) == ("undone", amount)


@each_pair
def test_compensation_of_a_refused_step_mints_nothing(open_store: OpenStore, pair: Pair) -> None:
    """Nothing was taken, so nothing is given back, and the refusal stands."""
    store = open_store(pair.service)
    refusal = store.run(pair.step, pair.refused)
    before = store.everything()

    store.run(pair.compensation, CANCELLED)

    assert store.everything() == before
    assert store.run(pair.step, pair.refused) == refusal


@each_pair
def test_compensation_of_another_order(open_store: OpenStore, pair: Pair) -> None:
    """The takings of one order stay when another order is cancelled."""
    store = open_store(pair.service)
    store.run(pair.step, pair.command)
    before = store.business()
    store.run(pair.compensation, OrderCancelled(order_id=ORDER + 1))
    assert store.business() == before


class _Wanting(Message):
    order_id: int


@step()
def _come_back_later(tx: Transaction, command: _Wanting) -> Any:
    operation = claim(tx, "come_back_later", command)
    return operation.previous_result or operation.refuse(Code.DEPENDENCY_AWAY, "not now")


def test_a_refusal_that_may_pass_is_not_stored(open_store: OpenStore) -> None:
    """A refusal for an absent dependency leaves no row, so that the step may be tried again."""
    store = open_store("order")
    before = store.everything()
    assert store.run(_come_back_later, _Wanting(order_id=ORDER)).code == Code.DEPENDENCY_AWAY
    assert store.everything() == before


_actions = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([0, 0, 2, 6, STOCK + 1])), max_size=14
)


@given(actions=_actions)
def test_any_order_of_steps_and_compensations(
    open_store: OpenStore, actions: list[tuple[int, int]]
) -> None:
    """However deductions and compensations of three orders meet and repeat, stock is conserved:
    what is gone from it is what applied operations say, and a compensated order holds nothing."""
    store = open_store("goods")
    compensated = set()
    for order_id, pieces in actions:
        if pieces:
            command = DeductStock(order_id=order_id, goods_id=1, goods_number=pieces)
            store.run(goods.deduct_stock, command)
        else:
            compensated.add(order_id)
            store.run(goods.return_stock, OrderCancelled(order_id=order_id))

    held = {
        row["order_id"]: row["amount"] for row in store.rows("trade_operation", outcome="applied")
    }
    stock = store.row("trade_goods", goods_id=1)["goods_number"]
    assert stock == STOCK - sum(held.values()) >= 0
    assert not held.keys() & compensated
