"""Scenarios of services that are down, slow or fail repeatedly; a person retries dead letters."""

from collections.abc import Iterator
from contextlib import contextmanager

from labkit.lab.client import OrderFields
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed
from labkit.matrix.labs import RETRY_LIMIT
from labkit.matrix.scenario import IS_CANCELLED, IS_PAID, Script, scenario
from labkit.ops.drive import ManualAction
from labkit.runtime.db.tables import DEAD, WAITING
from labkit.shop.messages import OrderCancelled, OrderPaid
from labkit.shop.wiring import SERVICES

_PAYING: OrderFields = {"money_paid": 1_00}
_EVERYTHING: OrderFields = {"coupon": True, "money_paid": 1_00}


@scenario("catch-up", "a consumer is away as an order is cancelled, and catches up when it is back")
def catch_up(context: ScenarioContext) -> Script:
    """Keep the coupon service down during a cancellation; retrying by hand is in vain."""
    order = context.customer.order(**_EVERYTHING)
    yield
    with context.outage("coupon"):
        context.customer.cancel(order)
        for item in context.wait_stuck(order):
            context.drive(item["id"])
    return {order: IS_CANCELLED}


@scenario("catch-up-paid", "a consumer is away as an order is paid, and catches up when it is back")
def catch_up_paid(context: ScenarioContext) -> Script:
    """Keep the log service down during a payment; retrying by hand is in vain."""
    order = context.customer.order(**_PAYING)
    url = context.customer.open_cashier(order)
    yield
    with _paid_without_log(context, order, url):
        for item in context.wait_stuck(order):
            context.drive(item["id"])
    return {order: IS_PAID}


@contextmanager
def _paid_without_log(context: ScenarioContext, order: Placed, url: str) -> Iterator[None]:
    """Pay an order while the log service is down, and keep it down for a block."""
    with context.outage("log"):
        context.customer.press(url)
        context.customer.wait_until_paid(order)
        yield


@scenario("forgotten", "the broker forgets all it holds, also what a consumer has not read yet")
def forgotten(context: ScenarioContext) -> Script:
    """Lose the broker's data while the coupon service is down; the message is sent again."""
    order = context.customer.order(**_EVERYTHING)
    yield
    with context.outage("coupon"):
        context.customer.cancel(order)
        context.wait_stuck(order)
        context.lab.faults.lose_broker()
    return {order: IS_CANCELLED}


@scenario("forgotten-paid", "the broker forgets that an order was paid before a consumer read it")
def forgotten_paid(context: ScenarioContext) -> Script:
    """Lose the broker's data while the log service is down; the message is sent again."""
    order = context.customer.order(**_PAYING)
    url = context.customer.open_cashier(order)
    yield
    with _paid_without_log(context, order, url):
        context.wait_stuck(order)
        context.lab.faults.lose_broker()
    return {order: IS_PAID}


@scenario("slow", "a consumer is slow as an order is cancelled, and the message comes once more")
def slow(context: ScenarioContext) -> Script:
    """Deliver a message a second time while the goods service handles it."""
    order = context.customer.order(**_EVERYTHING)
    yield
    context.inject("order.order_cancel.before_send", "duplicate")
    context.inject("goods.return_stock.before_commit", "delay:1")
    context.customer.cancel(order)
    return {order: IS_CANCELLED}


@scenario("slow-paid", "a consumer is slow as an order is paid, and the message comes once more")
def slow_paid(context: ScenarioContext) -> Script:
    """Deliver a message a second time while the log service handles it."""
    order = context.customer.order(**_PAYING)
    url = context.customer.open_cashier(order)
    yield
    context.inject("pay.paid.before_send", "duplicate")
    context.inject("log.log_payment.before_commit", "delay:1")
    context.customer.press(url)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


@scenario("power-cut", "all services are killed at once as an order is cancelled, and come back")
def power_cut(context: ScenarioContext) -> Script:
    """Kill all services while the cancellation is being handled."""
    order = context.customer.order(**_EVERYTHING)
    yield
    context.customer.cancel(order)
    context.power_cut()
    return {order: IS_CANCELLED}


@scenario(
    "dead",
    "all who hear that an order is cancelled fail, until it is given up; a person drives each home",
)
def dead(context: ScenarioContext) -> Script:
    """Fail all handlers until the message is a dead letter in each group."""
    order = context.customer.order(**_EVERYTHING)
    yield
    _fail_handlers(context, OrderCancelled, ("order", "goods", "coupon", "user", "pay"))
    context.customer.cancel(order)
    _drive_dead(context, OrderCancelled, order)
    return {order: IS_CANCELLED}


@scenario(
    "dead-paid", "the payment log fails until the message is given up; a person drives it home"
)
def dead_paid(context: ScenarioContext) -> Script:
    """Fail the log's handler until the message is a dead letter."""
    order = context.customer.order(**_PAYING)
    url = context.customer.open_cashier(order)
    yield
    _fail_handlers(context, OrderPaid, ("log",))
    context.customer.press(url)
    _drive_dead(context, OrderPaid, order)
    return {order: IS_PAID}


def _fail_handlers(context: ScenarioContext, event: type, groups: tuple[str, ...]) -> None:
    """Fail handlers at every try, and the first sending of the dead letters."""
    for group in groups:
        handler = SERVICES[group].handlers[event].name
        context.inject(f"{group}.{handler}.before_commit", "refuse", times=RETRY_LIMIT)
        context.inject(f"{group}.dead_letter.before_send", "refuse")


def _drive_dead(context: ScenarioContext, event: type, order: Placed) -> None:
    """Wait until every group is done or dead, and drive each dead message by hand."""
    topic = event.topic  # type: ignore[attr-defined]
    groups = {name for name, service in SERVICES.items() if event in service.handlers}

    def are_tried() -> bool:
        rows = context.inbox_rows(topic, order)
        return groups <= rows.keys() and all(status != WAITING for _, status in rows.values())

    context.customer.wait_until(
        are_tried, f"{topic} of order {order.order_id} is done or dead in all groups"
    )
    for group, (event_id, status) in context.inbox_rows(topic, order).items():
        if status == DEAD:
            context.drive(
                f"{group}.{event_id}",
                ManualAction.TAKE_BACK,
                ManualAction.GIVE_UP,
                ManualAction.RETRY,
            )
    for id in context.dead_letters(order):  # its first sending failed: a person retries it
        context.drive(id)
