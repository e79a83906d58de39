"""Stories of upgrades: services of two releases meet, and meet what the other has written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from course.bugs.stories.story import story
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Unexpected
from labkit.matrix.scenario import IS_PAID, IS_PLACED, IS_RETURNED, Script

_CALLED_AND_ORDER = ("goods", "coupon", "user", "log", "order")


@story("pay-goes-first", "pay alone is upgraded, and a payment is refunded")
def pay_goes_first(context: ScenarioContext) -> Script:
    """Have services of 1.0 hear of a refund from one of 1.1."""
    context.lab.upgrade(to="1.0")
    order = context.customer.order(money_paid=1_00)
    yield
    with _taken(context, "1.1", "pay"):
        context.customer.pay(order)
        context.customer.return_order(order)
        context.lab.settle()
    return {order: IS_RETURNED}


@story("asked-again-after-the-upgrade", "an order is sent again when its services are of 1.1")
def asked_again(context: ScenarioContext) -> Script:
    """Send the same request, under the same key, to the next release."""
    context.lab.upgrade(to="1.0")
    order = context.customer.order(money_paid=1_00)
    yield
    with _taken(context, "1.1", "order", "order-web"):
        again = context.customer.resend(order)
    if again.order_id != order.order_id:
        raise Unexpected(f"the same request, sent again, is told {again.name}")
    return {order: IS_PLACED}


@story("placed-while-it-expands", "the databases are expanded for 1.2, and all else is of 1.1")
def placed_while_it_expands(context: ScenarioContext) -> Script:
    """Place an order on what the next release has done to the database."""
    context.lab.upgrade(to="1.1")
    context.needs_reset = True  # or 1.0 would refuse what 1.2 has expanded
    yield
    with _taken(context, "1.2", "goods"):
        order = context.customer.order(money_paid=1_00)
        context.lab.settle()
    return {order: IS_PLACED}


@story("read-while-it-rolls", "an order of 1.0 is read again and again, while order goes to 1.1")
def read_while_it_rolls(context: ScenarioContext) -> Script:
    """Look at an order with both releases, before the rows are migrated."""
    context.lab.upgrade(to="1.0")
    order = context.customer.order(money_paid=1_00)
    wrong: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            answer = context.lab.client.find(str(order.order_id))
            data = answer.json()["data"] or {}
            if answer.status_code != 503 and data.get("consignee") != order.body["consignee"]:
                wrong.append(answer.text[:200])

    yield
    reading = threading.Thread(target=read)
    reading.start()
    try:
        with _taken(context, "1.1", "order"):
            pass
    finally:
        over.set()
        reading.join()
    if wrong:
        raise Unexpected(f"the order was shown without its consignee: {wrong[0]}")
    return {order: IS_PLACED}


@story("goods-goes-first", "goods alone is upgraded, and a piece is sold")
def goods_goes_first(context: ScenarioContext) -> Script:
    """Sell a piece, which 1.0 asks of 1.1."""
    context.lab.upgrade(to="1.0")
    yield
    with _taken(context, "1.1", "goods"):
        order = context.customer.order(goods_number=1, money_paid=1_00)
        context.lab.settle()
    return {order: IS_PLACED}


@story("order-goes-first", "order is upgraded before pay, and an order is paid")
def order_goes_first(context: ScenarioContext) -> Script:
    """Pay an order of 1.1 by a service of 1.0."""
    context.lab.upgrade(to="1.0")
    yield
    with _taken(context, "1.1", *_CALLED_AND_ORDER):
        order = context.customer.order(money_paid=1_00)
        context.customer.pay(order)
        context.lab.settle()
    return {order: IS_PAID}


@story("told-by-the-release-before", "pay is of 1.1 and tells of a refund those who are of 1.2")
def told_by_the_release_before(context: ScenarioContext) -> Script:
    """Bring an event of version 1 up to date."""
    context.lab.upgrade(to="1.1")
    context.needs_reset = True  # or 1.0 would refuse what 1.2 has expanded
    yield
    with _taken(context, "1.2", *_CALLED_AND_ORDER):
        order = context.customer.order(money_paid=1_00)
        context.customer.pay(order)
        context.customer.return_order(order)
        context.lab.settle()
    return {order: IS_RETURNED}


@contextmanager
def _taken(context: ScenarioContext, release: str, *services: str) -> Iterator[None]:
    """Take services to a release for a block, and back after it; what raises, ends the lab."""
    before = "1.0" if release == "1.1" else "1.1"
    context.lab.upgrade(*services, to=release)
    yield
    context.lab.upgrade(*services, to=before)
