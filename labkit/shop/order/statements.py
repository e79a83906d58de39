"""The statements of the order service on its database.

Every change of state is a compare-and-swap on the old state, so that of a confirm, a sweeper's
cancel and a user's cancel that meet, exactly one wins.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Executable, Update, select, update

from labkit.results import Result
from labkit.runtime import Transaction, first_of, statement
from labkit.shop.messages import OrderPlaced
from labkit.shop.order.answers import undecided
from labkit.shop.states import OrderStatus, PayStatus
from labkit.shop.tables import order, request

#: The reason with which an order is ruled out that is late and not there.
NOT_SAVED = "it was not saved in its time"


@statement
def find(order_id: int) -> Executable:
    """Find an order."""
    return select(order).where(order.c.order_id == order_id)


@statement
def confirm(order_id: int, user_id: int, pay_amount: int, now: datetime) -> Executable:
    """Set unconfirmed → confirmed, if user and amount are those of the command."""
    same = (order.c.user_id == user_id) & (order.c.pay_amount == pay_amount)
    confirmed = {"order_status": OrderStatus.CONFIRMED, "confirm_time": now}
    return _swap(order_id, OrderStatus.UNCONFIRMED, PayStatus.UNPAID).where(same).values(confirmed)


@statement
def cancel(order_id: int, old: int, reason: str) -> Executable:
    """Set unconfirmed or confirmed, and not paid → cancelled."""
    return _swap(order_id, old, PayStatus.UNPAID).values(
        order_status=OrderStatus.CANCELLED, cancel_reason=reason
    )


@statement
def mark_returned(order_id: int) -> Executable:
    """Set confirmed and paid → returned."""
    return _swap(order_id, OrderStatus.CONFIRMED, PayStatus.PAID).values(
        order_status=OrderStatus.RETURNED
    )


@statement
def pay(order_id: int, now: datetime) -> Executable:
    """Set confirmed and unpaid → paid."""
    return _swap(order_id, OrderStatus.CONFIRMED, PayStatus.UNPAID).values(
        pay_status=PayStatus.PAID, pay_time=now
    )


@statement
def record_refunded(order_id: int, now: datetime) -> Executable:
    """Record, once, when the payment of an order that ended was refunded."""
    ended = (order.c.order_status == OrderStatus.CANCELLED) | (
        order.c.order_status == OrderStatus.RETURNED
    )
    mine = (order.c.order_id == order_id) & ended & order.c.refund_time.is_(None)
    return update(order).where(mine).values(refund_time=now)


@statement
def record_cancelled(order_id: int, now: datetime) -> Executable:
    """Record, once, when the cancel message came round."""
    mine = (order.c.order_id == order_id) & order.c.cancel_time.is_(None)
    return update(order).where(mine).values(cancel_time=now)


@statement
def request_of_key(user_id: int, idempotency_key: str) -> Executable:
    """Find the request that an idempotency key stands for."""
    return select(request).where(_of_key(user_id, idempotency_key))


@statement
def hold_request(order_id: int) -> Executable:
    """Lock an order's request until the commit: binding its key, saving and refusing take turns.

    There is no row if the key stands for another order by now. (`open_order` locks the row by
    trying to insert it.)
    """
    return select(request.c.order_id).where(request.c.order_id == order_id).with_for_update()


@statement
def hold_unanswered(order_id: int) -> Executable:
    """Lock an order's request if it has no answer yet, with an update that changes nothing."""
    unanswered = (request.c.order_id == order_id) & request.c.answer.is_(None)
    return update(request).where(unanswered).values(order_id=order_id)


@statement
def rebind_key(user_id: int, idempotency_key: str, order_id: int) -> Executable:
    """Let an idempotency key stand for another order id."""
    return update(request).where(_of_key(user_id, idempotency_key)).values(order_id=order_id)


@statement
def answer_of(order_id: int) -> Executable:
    """Find the final answer to an order's request."""
    return select(request.c.answer).where(request.c.order_id == order_id)


@statement
def keep_first_answer(order_id: int, answer: str) -> Executable:
    """Store the final answer to an order's request, for a client who sends its key again."""
    mine = (request.c.order_id == order_id) & request.c.answer.is_(None)
    return update(request).where(mine).values(answer=answer)


def _swap(order_id: int, order_status: int, pay_status: int) -> Update:
    old = (order.c.order_status == order_status) & (order.c.pay_status == pay_status)
    return update(order).where(order.c.order_id == order_id, old)


def _of_key(user_id: int, idempotency_key: str) -> ColumnElement[bool]:
    return (request.c.user_id == user_id) & (request.c.idempotency_key == idempotency_key)


def kept_answer(tx: Transaction, order_id: int) -> Result[OrderPlaced]:
    """Return the final answer to an order's request; "undecided" if there is none yet."""
    row = tx.first(answer_of(order_id))
    if row is None or row.answer is None:
        return undecided(order_id)
    return Result[OrderPlaced].model_validate_json(row.answer)


def exists(tx: Transaction, order_id: int) -> bool:
    """Return True if an order was saved, in whatever state."""
    return tx.first(find(order_id)) is not None


def may_come(tx: Transaction, order_id: int) -> bool:
    """Return True if an order that is not there may still be saved: its request has no answer.

    No clock decides. `save_pre_order` locks the request's row on the condition that it has no
    answer (`hold_unanswered`), so a written answer rules the order out, also for a flow of another
    process that began before. An id without a request has no order: a client learns an id only
    after its request was committed, and a key never goes back to an id that it stood for before.
    """
    row = tx.first(answer_of(order_id))
    return row is not None and row.answer is None


def deadline(tx: Transaction) -> int:
    """Return the id below which orders are past the unconfirmed deadline (wall clock)."""
    return first_of(tx.wall_ms - int(tx.settings.unconfirmed_deadline * 1000))


def is_late(tx: Transaction, order_id: int) -> bool:
    """Return True if an order that is not there yet should not be saved any more.

    The clock of one process says so, read before its transaction began. That is a reason to refuse
    or to rule out, both of which are written, and never an answer by itself.
    """
    return order_id < deadline(tx)
