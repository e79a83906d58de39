"""Stories of ids that are made twice, which no id ever is: the parts that must bear it are broken.

Somebody else's rows are put where an id will be: as two processes with one worker number would.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, insert, select

from labkit.faults import points
from labkit.files import try_lock
from labkit.home import Home
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import IS_CANCELLED, IS_PLACED, IS_RETURNED, Script
from labkit.ops.drive import ManualAction
from labkit.runtime.clock import as_time, wall_ms_of
from labkit.runtime.db.tables import GIVEN_UP, SETTLED, inbox, outbox
from labkit.runtime.registry.files import ReservedFile
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS, first_of, made_at_ms
from labkit.shop.states import RefundState
from labkit.shop.tables import refund, request

_SEND, _FOR_EVER = "order.order_cancel.before_send", 10**6
_BACK_MS = 5_000  # how far the clock steps behind the last id
_TAKEN_MS = 30_000  # how far ahead the ids of refunds are taken


def another_message(context: ScenarioContext) -> Script:
    """Tell goods of a cancellation under an id under which it has another one already.

    Once that is seen, the other one is taken away, and the message is taken back by a person.
    """
    first, second = (context.customer.order(money_paid=1_00) for _ in range(2))
    yield
    context.customer.cancel(first)
    context.customer.wait_until(
        lambda: "goods" in context.inbox_rows("order_cancel", first), "goods has heard of the first"
    )
    points.arm(context.lab.home, _SEND, "refuse", _FOR_EVER)
    context.customer.cancel(second)
    event_id = _event_of(context, second)
    with _copied(context, context.inbox_rows("order_cancel", first)["goods"][0], event_id):
        points.disarm(context.lab.home, _SEND)
        context.customer.wait_until(
            lambda: _status(context, event_id) in (SETTLED, GIVEN_UP), "it has ended"
        )
    if _status(context, event_id) == SETTLED:
        raise Unexpected(f"event {event_id} is settled, and goods had another one under its id")
    context.drive(f"order.outbox.{event_id}", ManualAction.TAKE_BACK)
    return {first: IS_CANCELLED, second: IS_CANCELLED}


def clock_back_at_birth(context: ScenarioContext) -> Script:
    """Step the clock of a process back, that has a number which was used, before its first id."""
    order = context.customer.order(money_paid=1_00)
    yield
    home, last = context.lab.home, int(str(order.order_id))
    worker = _worker_of(last)
    reserved = home.registry / "workers" / f"{worker}.reserved"
    with _no_lower_numbers(home, worker):
        context.customer.wait_until(
            lambda: ReservedFile(reserved).read_ms() < wall_ms_of(home), "the number is free"
        )
        floor = ReservedFile(reserved).read_ms()
        context.lab.faults.kill("order")
    before = _order_ids(context)
    behind = wall_ms_of(home) - made_at_ms(last) + _BACK_MS
    with context.lab.faults.clock_stepped("order", -behind / 1000):
        early = context.customer.place_once(money_paid=1_00)
        made = _order_ids(context) - before
    again = [id_ for id_ in made if _worker_of(id_) == worker and made_at_ms(id_) <= floor]
    if again:
        raise Unexpected(f"worker {worker} makes ids of a time that it had used: {again}")
    if _worker_of(int(str(context.customer.resend(early).order_id))) != worker:
        raise Unexpected(f"another process has number {worker}, which was to be that of order")
    return {order: IS_PLACED}


def refund_id_taken(context: ScenarioContext) -> Script:
    """Give a payment back under refund ids that are taken, until that is seen."""
    order = context.customer.order(money_paid=1_00)
    context.customer.pay(order)
    worker = _worker_of(int(context.customer.find_payment(order)["pay_id"]))
    yield
    with _refunds_of(context, worker):
        context.customer.return_order(order)
        stuck = context.wait_stuck(order)
    for thing in stuck:
        context.drive(thing["id"])
    return {order: IS_RETURNED}


@contextmanager
def _copied(context: ScenarioContext, handled: int, event_id: int) -> Iterator[None]:
    """Keep the inbox row of an event in goods under another id, too, for a block."""
    with context.lab.database("goods") as goods:
        row = goods.execute(select(inbox).where(inbox.c.event_id == handled)).one()
        goods.execute(insert(inbox).values({**row._mapping, "event_id": event_id}))
    try:
        yield
    finally:
        with context.lab.database("goods") as goods:
            mine = (inbox.c.event_id == event_id) & (inbox.c.msg_key == row.msg_key)
            goods.execute(delete(inbox).where(mine))


@contextmanager
def _no_lower_numbers(home: Home, worker: int) -> Iterator[None]:
    """Hold the worker numbers below one that nobody has, so that who starts does not take them."""
    locks = [try_lock(home.registry / "workers" / f"{lower}.lock") for lower in range(worker)]
    try:
        yield
    finally:
        for lock in locks:
            if lock is not None:
                os.close(lock)


@contextmanager
def _refunds_of(context: ScenarioContext, worker: int) -> Iterator[None]:
    """Write refunds under all ids that a worker makes first in the milliseconds to come."""
    now_ms = wall_ms_of(context.lab.home)
    ids = [first_of(ms) | worker << SEQUENCE_BITS for ms in range(now_ms, now_ms + _TAKEN_MS)]
    with context.lab.database("pay") as pay:
        pay.execute(insert(refund), [_refund(number) for number in ids])
    try:
        yield
    finally:
        with context.lab.database("pay") as pay:
            pay.execute(delete(refund).where(refund.c.refund_id == refund.c.pay_id))


def _refund(number: int) -> dict[str, Any]:
    return {
        "refund_id": number,
        "pay_id": number,
        "order_id": 0,
        "user_id": 0,
        "amount": 0,
        "state": RefundState.REFUNDED,
        "reason": "",
        "tries": 0,
        "next_try": 0,
        "add_time": as_time(0),
    }


def _event_of(context: ScenarioContext, order: Placed) -> int:
    mine = (outbox.c.topic == "order_cancel") & (outbox.c.msg_key == order.order_id)
    with context.lab.database("order") as orders:
        return int(orders.execute(select(outbox.c.event_id).where(mine)).scalar_one())


def _status(context: ScenarioContext, event_id: int) -> int:
    with context.lab.database("order") as orders:
        query = select(outbox.c.status).where(outbox.c.event_id == event_id)
        return int(orders.execute(query).scalar_one())


def _order_ids(context: ScenarioContext) -> set[int]:
    with context.lab.database("order") as orders:
        return set(orders.execute(select(request.c.order_id)).scalars())


def _worker_of(number: int) -> int:
    return number >> SEQUENCE_BITS & (WORKERS - 1)
