"""Bugs of what is final: answers that nobody wrote down before they were told."""

from typing import Any

from course.bugs.bug import bug
from labkit.results import Result
from labkit.runtime.db.operations import claim
from labkit.runtime.db.transaction import Transaction
from labkit.shop.codes import Code
from labkit.shop.messages import FindOrder, OrderFound, PreOrder
from labkit.shop.order import queries
from labkit.shop.order import statements as rows
from labkit.shop.order.answers import undecided
from labkit.shop.states import OrderStatus, PayStatus
from labkit.shop.tables import order

not_found_by_the_clock = bug(
    "not-found-by-the-clock",
    "An order that is not there when its time is over never will be, so it is not found.",
    "stalled",
    breaks="404, which is final",
)


@not_found_by_the_clock.replaces("labkit.shop.order.queries:find_order")
def _(tx: Transaction, query: FindOrder) -> Any:
    row = tx.first(rows.find(query.order_id))
    may_come = queries.may_come(tx, query.order_id) and not rows.is_late(tx, query.order_id)
    if row is None and not may_come:
        text = f"order {query.order_id}: there is no such order"
        return Result[OrderFound].refused(Code.ORDER_NOT_FOUND, text)
    if row is None or row.order_status == OrderStatus.UNCONFIRMED:
        return undecided(query.order_id)
    return Result[OrderFound].ok(OrderFound.model_validate(row._asdict()))


saved_by_the_clock = bug(
    "saved-by-the-clock",
    "Who is in time may save the order: the deadline is all that can stand against it.",
    "clock-back",
    breaks="404, which is final",
)


@saved_by_the_clock.replaces("labkit.shop.order.steps:save_pre_order")
def _(tx: Transaction, command: PreOrder) -> Any:
    operation = claim(tx, "save_pre_order", command)
    if operation.previous_result:
        return operation.previous_result
    if rows.is_late(tx, command.order_id):
        text = f"order {command.order_id}: took too long before it was saved; place it again"
        return operation.refuse(Code.DEPENDENCY_AWAY, text)
    figures = command.request.model_dump()
    worked_out = command.model_dump(exclude={"request"})
    state = {
        "order_status": OrderStatus.UNCONFIRMED,
        "pay_status": PayStatus.UNPAID,
        "shipping_status": 0,
    }
    tx.insert(order, **figures, **worked_out, **state, add_time=tx.now)
    return operation.apply(amount=command.request.order_amount)
