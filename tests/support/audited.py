"""Stories of messages whose groups are asked whether they have them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, update

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import IS_CANCELLED, Script
from labkit.runtime.db import tables as rt
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import GROUPS


def locked_while_sent(context: ScenarioContext) -> Script:
    """A group that answers, has a message in its hands, and cannot write that it has it."""
    order = context.customer.order(coupon=True, money_paid=1_00)
    other_groups = set(GROUPS[OrderCancelled.topic]) - {"goods"}
    again, later = "order.mark_missing.before_commit", "order.postpone.before_commit"
    yield
    with context.lab.faults.database_locked("goods"):
        context.customer.cancel(order)
        context.customer.wait_until(
            lambda: other_groups <= context.inbox_rows(OrderCancelled.topic, order).keys(),
            "all others have heard of it",
        )
        sent, put_off = context.hits(again), context.hits(later)
        context.customer.wait_until(
            lambda: context.hits(again) >= sent + 3 or context.hits(later) >= put_off + 2,
            "goods has been asked again and again",
        )
        if (times := context.hits(again) - sent) > 1:  # one audit may have been under way
            raise Unexpected(f"what goods has not read yet was sent again {times} times")
    return {order: IS_CANCELLED}


def wired_later(context: ScenarioContext) -> Script:
    """An instance that does not know of the user service writes beside one that does."""
    order = context.customer.order(coupon=True, money_paid=1_00)
    groups = GROUPS[OrderCancelled.topic]
    yield
    with context.outage("coupon"):  # so that it is not settled meanwhile
        context.customer.cancel(order)
        context.customer.wait_until(lambda: _outbox_row(context, order), "the message is written")
        _address(context, order, [group for group in groups if group != "user"])
        context.customer.wait_until(
            lambda: "user" in _outbox_row(context, order).groups.split(","),
            "the message is addressed to all who must have it",
        )
    return {order: IS_CANCELLED}


def wired_meanwhile(context: ScenarioContext) -> Script:
    """A later release comes up between an audit and what follows from it."""
    order = context.customer.order(coupon=True, money_paid=1_00)
    groups = GROUPS[OrderCancelled.topic]
    ended = "order.mark_settled.after_commit"
    yield
    before = context.hits(ended)
    context.inject("order.mark_settled.before_commit", "delay:5")
    context.customer.cancel(order)
    context.customer.wait_until(
        lambda: not context.unspent_faults(), "the message is being settled"
    )
    _address(context, order, [*groups, "log"])
    context.customer.wait_until(lambda: context.hits(ended) > before, "that has ended")
    if _outbox_row(context, order).status == rt.SETTLED:
        raise Unexpected("a message is settled without log, which was never asked for it")
    _address(context, order, groups)
    return {order: IS_CANCELLED}


def _outbox_row(context: ScenarioContext, order: Placed) -> Any:
    """The message that an order was cancelled, as it stands in its outbox."""
    mine = (rt.outbox.c.topic == OrderCancelled.topic) & (rt.outbox.c.msg_key == order.order_id)
    with context.lab.database("order") as database:
        return database.execute(select(rt.outbox).where(mine)).first()


def _address(context: ScenarioContext, order: Placed, groups: Iterable[str]) -> None:
    """Address that message as an instance of another release would."""
    event_id = _outbox_row(context, order).event_id
    with context.lab.database("order") as database:
        database.execute(
            update(rt.outbox).where(rt.outbox.c.event_id == event_id),
            {"groups": ",".join(groups)},
        )
