"""The rows of the order database: the statements that the order service's steps are made of.

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
from labkit.shop.tables import order
from labkit.shop.tables import request as asked

#: Why an order is ruled out that is late and not there.
NOT_SAVED = "it was not saved in its time"


@statement
def find(order_id: int) -> Executable:
    """An order, whole."""
    return select(order).where(order.c.order_id == order_id)


@statement
def confirm(order_id: int, user_id: int, pay_amount: int, now: datetime) -> Executable:
    """Unconfirmed → confirmed, where the order is what who confirms it takes it for."""
    same = (order.c.user_id == user_id) & (order.c.pay_amount == pay_amount)
    confirmed = {"order_status": OrderStatus.CONFIRMED, "confirm_time": now}
    return _swap(order_id, OrderStatus.UNCONFIRMED, PayStatus.UNPAID).where(same).values(confirmed)


@statement
def cancel(order_id: int, old: int, reason: str) -> Executable:
    """Unconfirmed or confirmed, and not paid → cancelled."""
    return _swap(order_id, old, PayStatus.UNPAID).values(
        order_status=OrderStatus.CANCELLED, cancel_reason=reason
    )


@statement
def mark_returned(order_id: int) -> Executable:
    """Confirmed and paid → returned."""
    return _swap(order_id, OrderStatus.CONFIRMED, PayStatus.PAID).values(
        order_status=OrderStatus.RETURNED
    )


@statement
def pay(order_id: int, now: datetime) -> Executable:
    """Confirmed and unpaid → paid."""
    return _swap(order_id, OrderStatus.CONFIRMED, PayStatus.UNPAID).values(
        pay_status=PayStatus.PAID, pay_time=now
    )


@statement
def record_refunded(order_id: int, now: datetime) -> Executable:
    """The payment of an order that ended went back: note when, once."""
    ended = (order.c.order_status == OrderStatus.CANCELLED) | (
        order.c.order_status == OrderStatus.RETURNED
    )
    mine = (order.c.order_id == order_id) & ended & order.c.refund_time.is_(None)
    return update(order).where(mine).values(refund_time=now)


@statement
def record_cancelled(order_id: int, now: datetime) -> Executable:
    """The cancel message went round: note when, once."""
    mine = (order.c.order_id == order_id) & order.c.cancel_time.is_(None)
    return update(order).where(mine).values(cancel_time=now)


@statement
def request_of_key(user_id: int, idempotency_key: str) -> Executable:
    """What an idempotency key stands for."""
    return select(asked).where(_of_key(user_id, idempotency_key))


@statement
def hold_request(order_id: int) -> Executable:
    """Hold an order's request until the commit: who binds its key, saves or refuses goes in turn.

    Nothing is found where the key stands for another order by now. (Who binds a key holds the row
    by having tried to insert it.)
    """
    return select(asked.c.order_id).where(asked.c.order_id == order_id).with_for_update()


@statement
def hold_unanswered(order_id: int) -> Executable:
    """The same for a request that has no answer yet: nothing changes, and one row is held."""
    unanswered = (asked.c.order_id == order_id) & asked.c.answer.is_(None)
    return update(asked).where(unanswered).values(order_id=order_id)


@statement
def rebind_key(user_id: int, idempotency_key: str, order_id: int) -> Executable:
    """Let an idempotency key stand for another order id."""
    return update(asked).where(_of_key(user_id, idempotency_key)).values(order_id=order_id)


@statement
def answer_of(order_id: int) -> Executable:
    """The final answer to an order's request, where there is one."""
    return select(asked.c.answer).where(asked.c.order_id == order_id)


@statement
def keep_first_answer(order_id: int, answer: str) -> Executable:
    """The final answer to an order's request, for whoever asks again under its key."""
    mine = (asked.c.order_id == order_id) & asked.c.answer.is_(None)
    return update(asked).where(mine).values(answer=answer)


def _swap(order_id: int, order_status: int, pay_status: int) -> Update:
    old = (order.c.order_status == order_status) & (order.c.pay_status == pay_status)
    return update(order).where(order.c.order_id == order_id, old)


def _of_key(user_id: int, idempotency_key: str) -> ColumnElement[bool]:
    return (asked.c.user_id == user_id) & (asked.c.idempotency_key == idempotency_key)


def kept_answer(tx: Transaction, order_id: int) -> Result[OrderPlaced]:
    """The final answer to an order's request; undecided where there is none yet."""
    kept = tx.first(answer_of(order_id))
    if kept is None or kept.answer is None:
        return undecided(order_id)
    return Result[OrderPlaced].model_validate_json(kept.answer)


def exists(tx: Transaction, order_id: int) -> bool:
    """Whether an order was saved, in whatever state."""
    return tx.first(find(order_id)) is not None


def may_come(tx: Transaction, order_id: int) -> bool:
    """Return True if an order that is not there may still be saved: its request has no answer.

    No clock is asked. What saves an order holds its request's row on the condition that it has no
    answer (`hold_unanswered`), so a written answer rules the order out, also for a flow of another
    process that began before. An id of no request is of no order: none was told to anybody before
    its request was committed, and a key that stands for another id by now never comes back.
    """
    asked = tx.first(answer_of(order_id))
    return asked is not None and asked.answer is None


def deadline(tx: Transaction) -> int:
    """Ids below this one are of orders past the unconfirmed deadline (wall clock)."""
    return first_of(tx.wall_ms - int(tx.settings.unconfirmed_deadline * 1000))


def is_late(tx: Transaction, order_id: int) -> bool:
    """Return True if an order that is not there yet should not be saved any more.

    That is an opinion of one process's clock, read before its transaction began. It is a reason to
    refuse or to rule out, both of which are written, and never an answer by itself.
    """
    return order_id < deadline(tx)
