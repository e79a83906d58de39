"""Placing an order, whole: the real flow over the real steps of four databases in one process.

Between them stands only what a network and a crash can do: a call that never arrives, an answer
that is lost, a call that arrives after everything else, a flow that dies or hangs at any call.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labkit.results import Code, Result
from labkit.runtime import inbox
from labkit.runtime.inbox import Delivery
from labkit.runtime.steps import Step, Unknown
from labkit.settings import Settings
from labkit.shop import messages as m
from labkit.shop import placing
from labkit.shop.tables import CANCELLED, CONFIRMED
from labkit.shop.wiring import NAMES, SERVICES
from tests.unit.shopping import asked, opened
from tests.unit.store import BALANCE, COUPON, PRICE, STOCK, OpenStore, Store

FAULTS = ("none", "never arrives", "answer lost", "arrives late", "dies before", "dies after",
          "hangs before", "hangs after")  # fmt: skip
CALLS = ("find_goods", "deduct_stock", "use_coupon", "deduct_balance")


class Died(Exception):
    """The order service was killed: nobody is left to be answered."""


@dataclass
class World:
    """All databases, the faults to come, and what still travels."""

    open_store: OpenStore
    faults: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    late: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = {name: self.open_store(name) for name in SERVICES if name != "order-web"}
        for attribute, contract in SERVICES["order"].calls.items():
            setattr(self, attribute, _Remote(self, NAMES[contract]))

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        """A step of the order service itself."""
        return self.stores["order"].run(step, command)

    def place(self, key: str = "key", **changed: Any) -> Result[Any] | None:
        """Place an order; None where the order service died over it."""
        opening = opened(self.stores["order"], key).data
        if opening.answer:
            return Result[Any].model_validate_json(opening.answer)
        return self.flow(opening.order_id, **changed)

    def flow(self, order_id: int, **changed: Any) -> Result[Any] | None:
        """The flow alone, as an instance of the order service runs it."""
        command = m.ConfirmOrder(order_id=order_id, request=asked(**changed))
        try:
            return asyncio.run(placing.confirm_order(self, command))
        except Died:
            return None

    def sweep(self) -> None:
        """Let the deadline of unconfirmed orders pass, and the sweeper look."""
        self.stores["order"].wait(self.settings.unconfirmed_deadline + 1)
        asyncio.run(placing.sweep_unconfirmed(self, None))

    def deliver(self) -> None:
        """Deliver every event ever told to every group that must have it, through its inbox."""
        for row in self.stores["order"].rows("trade_mq_producer"):
            for service in SERVICES.values():
                for event, handler in service.handlers.items():
                    if event.topic == row["topic"]:
                        delivery = Delivery(
                            group=service.name, event_id=row["event_id"], topic=row["topic"],
                            tag=row["tag"], key=row["msg_key"], body=row["body"],
                        )  # fmt: skip
                        self.stores[service.name].run(inbox.guarded(handler, event), delivery)

    def arrive(self) -> None:
        """Let the late calls arrive."""
        while self.late:
            self.late.pop()()

    def left(self) -> tuple[int, int, int]:
        """Stock, used coupons, balance."""
        return (
            self.stores["goods"].row("trade_goods")["goods_number"],
            len(self.stores["coupon"].rows("trade_coupon", is_used=1)),
            self.stores["user"].row("trade_user", user_id=1)["user_money"],
        )

    def status(self) -> int | None:
        """The order's status; None where no order was saved."""
        rows = self.stores["order"].rows("trade_order")
        return rows[0]["order_status"] if rows else None


class _Remote:
    """Another service as its caller sees it."""

    def __init__(self, world: World, service: str) -> None:
        self._world, self._service = world, service

    def __getattr__(self, name: str) -> Any:
        world, step = self._world, SERVICES[self._service].methods[name]
        store: Store = world.stores[self._service]

        async def call(command: Any) -> Any:
            fault, when = world.faults.pop(name, "none"), "before"
            if fault == "arrives late":
                world.late.append(lambda: store.run(step, command))
            if fault in ("never arrives", "arrives late"):
                raise Unknown("no answer came")
            await _befall(world, fault, when)
            answer = store.run(step, command)
            if fault == "answer lost":
                raise Unknown("no answer came")
            await _befall(world, fault, "after")
            return answer

        return call


async def _befall(world: World, fault: str, when: str) -> None:
    if fault == f"dies {when}":
        raise Died
    if fault == f"hangs {when}":
        await asyncio.to_thread(world.sweep)


TAKEN = (STOCK - 2, 1, BALANCE - 50_00)
NOTHING = (STOCK, 0, BALANCE)


def test_an_order_takes_what_it_needs(open_store: OpenStore) -> None:
    """With nothing in its way an order takes stock, coupon and balance, and is confirmed."""
    world = World(open_store)
    assert world.place().success
    assert (world.status(), world.left()) == (CONFIRMED, TAKEN)


def test_without_coupon_and_balance_only_stock_is_taken(open_store: OpenStore) -> None:
    """What an order does not use is not touched, nor is its service asked to take it."""
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


def test_a_refused_coupon_gives_the_stock_back(open_store: OpenStore) -> None:
    """The coupon goes to another order after the check: cancelled, and the stock comes back."""
    world = World(open_store)
    other = m.UseCoupon(order_id=1, coupon_id=1, user_id=1, coupon_price=COUPON)
    use = SERVICES["coupon"].methods["use_coupon"]
    find = SERVICES["coupon"].methods["find_coupon"]
    found = world.stores["coupon"].run(find, m.FindCoupon(coupon_id=1))
    world.stores["coupon"].run(use, other)

    class Stale:
        async def find_coupon(self, _: Any) -> Any:
            return found

        async def use_coupon(self, command: Any) -> Any:
            return world.stores["coupon"].run(use, command)

    world.coupons = Stale()
    assert world.place().code == Code.COUPON_ALREADY_USED
    world.deliver()
    assert (world.status(), world.left()) == (CANCELLED, (STOCK, 1, BALANCE))


def test_an_absent_service_is_no_refusal(open_store: OpenStore) -> None:
    """A service that cannot be asked for goods is 503, saved nothing, and may be tried again."""
    world = World(open_store, {"find_goods": "never arrives"})
    assert world.place().code == Code.DEPENDENCY_AWAY
    assert world.status() is None
    assert world.place().success


def test_the_same_key_after_the_order_service_died(open_store: OpenStore) -> None:
    """A flow that died half-way is taken up by the next request with its key, though the stock
    that is left is what it took itself: taken once, confirmed once."""
    world = World(open_store, {"use_coupon": "dies before"})
    wanted = {"goods_number": STOCK, "order_amount": STOCK * PRICE}
    assert world.place(**wanted) is None
    answer = world.place(**wanted)
    assert answer.success
    assert (world.status(), world.left()) == (CONFIRMED, (0, 1, BALANCE - 50_00))


def test_an_order_that_is_not_paid_in_time_gives_all_back(open_store: OpenStore) -> None:
    """When the lab clock passes the time to pay, the sweeper cancels it and all of it comes back;
    an order that was paid by coupon and balance alone stays."""
    world = World(open_store)
    assert world.place().success
    assert world.place("paid", coupon_id=None, money_paid=2 * PRICE).success
    world.stores["order"].clock.advance(timedelta(seconds=world.settings.unpaid_order_ttl))

    for _ in range(2):
        asyncio.run(placing.sweep_unpaid(world, None))
        world.deliver()

    statuses = [row["order_status"] for row in world.stores["order"].rows("trade_order")]
    assert statuses == [CANCELLED, CONFIRMED]
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
    assert status in (None, CONFIRMED, CANCELLED)
    assert world.left() == (TAKEN if status == CONFIRMED else NOTHING)
    for answer in answers:
        if answer is not None and answer.final:
            assert answer.success == (status == CONFIRMED)
