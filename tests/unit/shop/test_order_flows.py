"""Placing an order, whole: the flow takes all that it needs or nothing, whatever befalls it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order import flows
from labkit.shop.states import OrderStatus
from labkit.shop.wiring import SERVICES
from tests.support.shopping import opened
from tests.support.store import BALANCE, COUPON, PRICE, STOCK, OpenStore
from tests.support.world import CALLS, FAULTS, World

TAKEN = (STOCK - 2, 1, BALANCE - 50_00)
NOTHING = (STOCK, 0, BALANCE)


def test_an_order_takes_what_it_needs(open_store: OpenStore) -> None:
    """With nothing in its way an order takes stock, coupon and balance, and is confirmed."""
    world = World(open_store)
    assert world.place().success
    assert (world.status(), world.left()) == (OrderStatus.CONFIRMED, TAKEN)


def test_without_coupon_and_balance_only_stock_is_taken(open_store: OpenStore) -> None:
    """A resource that an order does not use is not touched, nor is its service asked."""
    world = World(open_store)
    assert world.place(coupon_id=None, money_paid=0).success
    assert world.left() == (STOCK - 2, 0, BALANCE)
    assert world.stores["coupon"].rows("trade_operation") == []
    assert world.stores["user"].rows("trade_operation") == []


def test_a_broken_rule_saves_nothing(open_store: OpenStore) -> None:
    """A request that breaks a rule is refused before anything is saved, and stays refused."""
    world = World(open_store)
    refused = world.place(order_amount=2 * PRICE - 1)
    assert refused.code == Code.ORDER_AMOUNT_WRONG
    assert (world.status(), world.left()) == (None, NOTHING)
    assert world.place().code == Code.ORDER_AMOUNT_WRONG


def test_two_flows_of_one_order_give_one_answer(open_store: OpenStore) -> None:
    """The same key at two instances at once: one is refused finally, the other comes later and
    would pass; both clients are told the same, and nothing is saved."""
    world = World(open_store)
    order_id = opened(world.stores["order"]).data.order_id
    refused = world.flow(order_id, goods_price=PRICE - 1)
    assert world.flow(order_id) == refused
    assert (world.status(), world.left()) == (None, NOTHING)


def test_who_loses_says_what_was_decided(open_store: OpenStore) -> None:
    """A flow that hears nothing, while another instance confirms the same order, wants to cancel
    it, is too late for that, and answers that the order is placed."""
    world = World(open_store, {"use_coupon": "another is faster"})
    assert world.place().success
    world.deliver()
    assert (world.status(), world.left()) == (OrderStatus.CONFIRMED, TAKEN)


def test_a_refused_coupon_gives_the_stock_back(open_store: OpenStore) -> None:
    """The coupon goes to another order after the check: cancelled, and the stock comes back."""
    world = World(open_store)
    other = m.UseCoupon(order_id=1, coupon_id=1, user_id=1, coupon_price=COUPON)
    use = SERVICES["coupon"].methods["use_coupon"]
    find = SERVICES["coupon"].methods["find_coupon"]
    coupon = world.stores["coupon"].run(find, m.FindCoupon(coupon_id=1))
    world.stores["coupon"].run(use, other)

    class Stale:
        async def find_coupon(self, _: Any) -> Any:
            return coupon

        async def use_coupon(self, command: Any) -> Any:
            return world.stores["coupon"].run(use, command)

    world.services["order"].coupons = Stale()
    assert world.place().code == Code.COUPON_ALREADY_USED
    world.deliver()
    assert (world.status(), world.left()) == (OrderStatus.CANCELLED, (STOCK, 1, BALANCE))


def test_an_absent_service_is_no_refusal(open_store: OpenStore) -> None:
    """A service that cannot be asked for goods is 503, saved nothing, and may be tried again."""
    world = World(open_store, {"find_goods": "never arrives"})
    assert world.place().code == Code.DEPENDENCY_AWAY
    assert world.status() is None
    assert world.place().success


@pytest.mark.parametrize("call", CALLS[1:])
@pytest.mark.parametrize("fault", ["never arrives", "answer lost", "arrives late"])
def test_an_unknown_call_cancels_at_once(open_store: OpenStore, call: str, fault: str) -> None:
    """A deduction that may have worked or not cancels the order in the same flow, with no sweeper;
    everything comes back, and a call that lands after that is refused. The client is told that a
    service was away, and under the same key from then on that the order was cancelled."""
    world = World(open_store, {call: fault})
    assert world.place().code == Code.DEPENDENCY_AWAY
    assert world.status() == OrderStatus.CANCELLED

    world.deliver()
    world.arrive()
    assert world.left() == NOTHING
    assert world.place().code == Code.ORDER_CANCELLED


def test_the_same_key_after_the_order_service_died(open_store: OpenStore) -> None:
    """A flow that died half-way is taken up by the next request with its key, though the stock
    that is left is what it took itself: taken once, confirmed once."""
    world = World(open_store, {"use_coupon": "dies before"})
    wanted = {"goods_number": STOCK, "order_amount": STOCK * PRICE}
    assert world.place(**wanted) is None
    answer = world.place(**wanted)
    assert answer.success
    assert (world.status(), world.left()) == (OrderStatus.CONFIRMED, (0, 1, BALANCE - 50_00))


def test_an_order_that_is_not_paid_in_time_gives_all_back(open_store: OpenStore) -> None:
    """When the lab clock passes the time to pay, the sweeper cancels it and all of it comes back;
    an order that was paid by coupon and balance alone stays."""
    world = World(open_store)
    assert world.place().success
    assert world.place("paid", coupon_id=None, money_paid=2 * PRICE).success
    world.stores["order"].clock.advance(timedelta(seconds=world.settings.unpaid_order_ttl))

    for _ in range(2):
        asyncio.run(flows.sweep_unpaid(world.services["order"], None))
        world.deliver()

    statuses = [row["order_status"] for row in world.stores["order"].rows("trade_order")]
    assert statuses == [OrderStatus.CANCELLED, OrderStatus.CONFIRMED]
    assert world.left() == (STOCK - 2, 0, BALANCE - 2 * PRICE)


@given(
    faults=st.dictionaries(st.sampled_from(CALLS), st.sampled_from(FAULTS), max_size=3),
    late_first=st.booleans(),
    again=st.booleans(),
)
def test_whatever_befalls_an_order_all_or_nothing_is_taken(
    open_store: OpenStore, faults: dict[str, str], late_first: bool, again: bool
) -> None:
    """Under any faults, a second request with the key, late calls before or after the compensation
    and every event delivered twice: the order is decided, has all that it took or nothing, and
    nobody was told otherwise."""
    world = World(open_store, dict(faults))
    answers = [world.place()]
    if again:
        answers.append(world.place())
    world.sweep()
    if late_first:
        world.arrive()
    world.deliver()
    world.arrive()
    world.deliver()

    status = world.status()
    assert status in (None, OrderStatus.CONFIRMED, OrderStatus.CANCELLED)
    assert world.left() == (TAKEN if status == OrderStatus.CONFIRMED else NOTHING)
    for answer in answers:
        if answer is not None and Code(answer.code).is_final:
            assert answer.success == (status == OrderStatus.CONFIRMED)
