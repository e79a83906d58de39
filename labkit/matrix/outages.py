"""Scenarios of what is away, slow or fails again and again; a person drives home what is dead."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labkit.matrix.customer import Placed
from labkit.matrix.labs import RETRY_LIMIT
from labkit.matrix.scenario import IS_CANCELLED, IS_PAID, Script, scenario
from labkit.matrix.stage import ScenarioContext
from labkit.ops import drive
from labkit.runtime.db.tables import DEAD, WAITING
from labkit.shop.messages import OrderCancelled, OrderPaid
from labkit.shop.wiring import SERVICES

_PAYING: dict[str, Any] = {"money_paid": 1_00}
_EVERYTHING: dict[str, Any] = {"coupon": True, "money_paid": 1_00}


@scenario("catch-up", "a consumer is away as an order is cancelled, and catches up when it is back")
def catch_up(stage: ScenarioContext) -> Script:
    """The coupon service misses a message; somebody tries in vain to hurry it meanwhile."""
    order = stage.user.order(**_EVERYTHING)
    yield
    with stage.away("coupon"):
        stage.user.cancel(order)
        for one in stage.wait_stuck(order):
            stage.by_hand(one["id"])
    return {order: IS_CANCELLED}


@scenario("catch-up-paid", "a consumer is away as an order is paid, and catches up when it is back")
def catch_up_paid(stage: ScenarioContext) -> Script:
    """The log service misses a message; somebody tries in vain to hurry it meanwhile."""
    order = stage.user.order(**_PAYING)
    url = stage.user.cashier(order)
    yield
    with _paid_without_log(stage, order, url):
        for one in stage.wait_stuck(order):
            stage.by_hand(one["id"])
    return {order: IS_PAID}


@contextmanager
def _paid_without_log(stage: ScenarioContext, order: Placed, url: str) -> Iterator[None]:
    """Have an order paid, and the log service, which has not heard of it, away for a block."""
    with stage.away("log"):
        stage.user.press(url)
        stage.user.sees_paid(order)
        yield


@scenario("forgotten", "the broker forgets all it holds, also what a consumer has not read yet")
def forgotten(stage: ScenarioContext) -> Script:
    """The coupon service is away, and the message that waits for it is lost: it is sent again."""
    order = stage.user.order(**_EVERYTHING)
    yield
    with stage.away("coupon"):
        stage.user.cancel(order)
        stage.wait_stuck(order)
        stage.lab.faults.lose_broker()
    return {order: IS_CANCELLED}


@scenario("forgotten-paid", "the broker forgets that an order was paid before a consumer read it")
def forgotten_paid(stage: ScenarioContext) -> Script:
    """The log service is away, and the message that waits for it is lost: it is sent again."""
    order = stage.user.order(**_PAYING)
    url = stage.user.cashier(order)
    yield
    with _paid_without_log(stage, order, url):
        stage.wait_stuck(order)
        stage.lab.faults.lose_broker()
    return {order: IS_PAID}


@scenario("slow", "a consumer is slow as an order is cancelled, and the message comes once more")
def slow(stage: ScenarioContext) -> Script:
    """The goods service is in the midst of a message as the same one comes again."""
    order = stage.user.order(**_EVERYTHING)
    yield
    stage.breaks("order.order_cancel.before_send", "duplicate")
    stage.breaks("goods.return_stock.before_commit", "delay:1")
    stage.user.cancel(order)
    return {order: IS_CANCELLED}


@scenario("slow-paid", "a consumer is slow as an order is paid, and the message comes once more")
def slow_paid(stage: ScenarioContext) -> Script:
    """The log service is in the midst of a message as the same one comes again."""
    order = stage.user.order(**_PAYING)
    url = stage.user.cashier(order)
    yield
    stage.breaks("pay.paid.before_send", "duplicate")
    stage.breaks("log.log_payment.before_commit", "delay:1")
    stage.user.press(url)
    stage.user.sees_paid(order)
    return {order: IS_PAID}


@scenario("power-cut", "all services are killed at once as an order is cancelled, and come back")
def power_cut(stage: ScenarioContext) -> Script:
    """Everything dies in the middle."""
    order = stage.user.order(**_EVERYTHING)
    yield
    stage.user.cancel(order)
    stage.power_cut()
    return {order: IS_CANCELLED}


@scenario(
    "dead",
    "all who hear that an order is cancelled fail, until it is given up; a person drives each home",
)
def dead(stage: ScenarioContext) -> Script:
    """A message that nobody can take, until a person has seen to that."""
    order = stage.user.order(**_EVERYTHING)
    yield
    _fail(stage, OrderCancelled, ("order", "goods", "coupon", "user", "pay"))
    stage.user.cancel(order)
    _drive_home(stage, OrderCancelled, order)
    return {order: IS_CANCELLED}


@scenario(
    "dead-paid", "the payment log fails until the message is given up; a person drives it home"
)
def dead_paid(stage: ScenarioContext) -> Script:
    """A payment that the log cannot take, until a person has seen to that."""
    order = stage.user.order(**_PAYING)
    url = stage.user.cashier(order)
    yield
    _fail(stage, OrderPaid, ("log",))
    stage.user.press(url)
    _drive_home(stage, OrderPaid, order)
    return {order: IS_PAID}


def _fail(stage: ScenarioContext, event: type, groups: tuple[str, ...]) -> None:
    """Have handlers fail at every try, and the dead letter find no broker at first."""
    for group in groups:
        handler = SERVICES[group].handlers[event].name
        stage.breaks(f"{group}.{handler}.before_commit", "refuse", times=RETRY_LIMIT)
        stage.breaks(f"{group}.dead_letter.before_send", "refuse")


def _drive_home(stage: ScenarioContext, event: type, order: Placed) -> None:
    """Wait until nobody tries any more, and drive what is dead home by hand."""
    topic = event.topic  # type: ignore[attr-defined]
    groups = {name for name, one in SERVICES.items() if event in one.handlers}

    def tried() -> bool:
        found = stage.handled(topic, order)
        return groups <= found.keys() and all(one[1] != WAITING for one in found.values())

    stage.user.wait(tried, f"{topic} of order {order.order_id} is done or dead in all groups")
    for group, (event_id, status) in stage.handled(topic, order).items():
        if status == DEAD:
            stage.by_hand(f"{group}.{event_id}", drive.TAKE_BACK, drive.GIVE_UP, drive.RETRY)
    for id in stage.dead_letters(order):  # it finds no broker at first: somebody hurries it
        stage.by_hand(id)
