"""Order service (订单服务): the steps of one order's life in the order database.

Every change of state is a compare-and-swap on the old state, so that of a confirm, a sweeper's
cancel and a user's cancel that meet, exactly one wins.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from labkit.results import Code, Result
from labkit.runtime.ids import first_of, made_at_ms
from labkit.runtime.operations import claim
from labkit.runtime.steps import Event, Transaction, step
from labkit.shop.messages import (
    CancelOrder,
    MoveOrder,
    Opening,
    OpenOrder,
    OrderCancelled,
    OrderFound,
    OrderPaid,
    OrderPlaced,
    OrderReturned,
    PlaceOrder,
    PreOrder,
    RefuseOrder,
    UserOrder,
)
from labkit.shop.tables import (
    CANCELLED,
    CONFIRMED,
    PAID,
    RETURNED,
    UNCONFIRMED,
    UNPAID,
    order,
    request,
)

_BATCH = 200


@step(failed=Code.DEPENDENCY_AWAY)
def open_order(tx: Transaction, command: OpenOrder) -> Result[Opening]:
    """Bind a user's idempotency key to an order id, before anything else happens.

    The key and the hash of the request are the operation here: asked again with the same request
    it gives the same order id, with another request it is refused.
    """
    key = {"user_id": command.user_id, "idempotency_key": command.idempotency_key}
    new_id = tx.ids.next()
    hashed = {"request_hash": command.request_hash}
    if tx.insert_once(request, **key, order_id=new_id, **hashed, add_time=tx.now):
        return Result[Opening].ok(Opening(order_id=new_id))
    mine = (request.c.user_id == command.user_id) & (
        request.c.idempotency_key == command.idempotency_key
    )
    known = tx.execute(select(request).where(mine)).one()
    if known.request_hash != command.request_hash:
        text = f"Idempotency-Key {command.idempotency_key!r} was used for another request"
        return Result[Opening].no(Code.IDEMPOTENCY_KEY_REUSED, f"{text} (order {known.order_id})")
    if known.answer is None and _too_late(tx, known.order_id) and not _exists(tx, known.order_id):
        # nothing was saved under the old id, and nothing ever will be: start afresh
        tx.execute(update(request).where(mine).values(order_id=new_id))
        return Result[Opening].ok(Opening(order_id=new_id))
    return Result[Opening].ok(Opening(order_id=known.order_id, answer=known.answer))


@step(failed=Code.ORDER_SAVE_FAILED)
def save_pre_order(tx: Transaction, command: PreOrder) -> Result[Any]:
    """Save the order unconfirmed (预订单): the user does not see it yet.

    An id that is past its deadline is refused, so that who was told 404 was told the truth.
    """
    operation = claim(tx, "save_pre_order", command)
    if operation.earlier:
        return operation.earlier
    if _too_late(tx, command.order_id):
        text = f"order {command.order_id}: took too long before it was saved; place it again"
        return operation.refuse(Code.DEPENDENCY_AWAY, text)
    kept = _kept_answer(tx, command.order_id)
    if kept.final:  # the same request, run at the same time, was refused
        return operation.answer_with(kept)
    asked = command.request.model_dump()
    worked_out = command.model_dump(exclude={"request"})
    state = {"order_status": UNCONFIRMED, "pay_status": UNPAID, "shipping_status": 0}
    tx.execute(order.insert(), {**asked, **worked_out, **state, "add_time": tx.now})
    return operation.apply(amount=command.request.order_amount)


@step(failed=Code.ORDER_CONFIRM_FAILED)
def confirm_pre_order(tx: Transaction, command: MoveOrder) -> Result[Any]:
    """Confirm the order (确认订单); one with nothing left to pay is paid in the same step."""
    operation = claim(tx, "confirm_order", command)
    if operation.earlier:
        return operation.earlier
    confirmed = {"order_status": CONFIRMED, "confirm_time": tx.now}
    if not _swap(tx, command.order_id, (UNCONFIRMED, UNPAID), **confirmed):
        text = f"order {command.order_id}: was cancelled before it could be confirmed"
        return operation.refuse(Code.ORDER_CANCELLED, text)
    _pay_if_nothing_is_left(tx, command.order_id)
    placed = OrderPlaced(order_id=command.order_id)
    answer = Result[OrderPlaced].ok(placed, f"order {command.order_id} is placed")
    _answer(tx, command.order_id, answer)
    return operation.apply(data=placed)


@step()
def cancel_failed(tx: Transaction, command: CancelOrder) -> Result[Any]:
    """Cancel an order that could not be confirmed (取消订单), and tell all who took something."""
    return _cancel(tx, "cancel_failed", command, UNCONFIRMED)


@step()
def cancel_expired(tx: Transaction, command: CancelOrder) -> Result[Any]:
    """Cancel an order whose flow died before it was decided: the sweeper's step."""
    return _cancel(tx, "cancel_expired", command, UNCONFIRMED)


@step()
def cancel_unpaid(tx: Transaction, command: CancelOrder) -> Result[Any]:
    """Cancel a confirmed order that was not paid in its time."""
    return _cancel(tx, "cancel_unpaid", command, CONFIRMED)


@step(failed=Code.ORDER_STATUS_UPDATE_FAILED)
def cancel_by_user(tx: Transaction, command: UserOrder) -> Result[Any]:
    """A user cancels an unpaid order."""
    found = _order_of(tx, command)
    if found:
        return found
    reason = "cancelled by the user"
    cancel = CancelOrder(order_id=command.order_id, code=Code.ORDER_CANCELLED, reason=reason)
    return _cancel(tx, "cancel_by_user", cancel, CONFIRMED)


@step(failed=Code.ORDER_STATUS_UPDATE_FAILED)
def return_order(tx: Transaction, command: UserOrder) -> Result[Any]:
    """A user returns a paid order in full (退货)."""
    found = _order_of(tx, command)
    if found:
        return found
    operation = claim(tx, "return_order", command)
    if operation.earlier:
        return operation.earlier
    if not _swap(tx, command.order_id, (CONFIRMED, PAID), order_status=RETURNED):
        text = f"order {command.order_id}: only a paid order that was not returned can be"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    tx.emit(OrderReturned(order_id=command.order_id))
    return operation.apply(data=OrderPlaced(order_id=command.order_id))


@step(failed=Code.DEPENDENCY_AWAY)
def refuse_order(tx: Transaction, command: RefuseOrder) -> Result[Any]:
    """Refuse a request of which nothing was saved, and keep that where it is final.

    Where the order came to be meanwhile (the same key, sent twice), that decides.
    """
    if _exists(tx, command.order_id):
        return _kept_answer(tx, command.order_id)
    refusal = Result[Any].no(Code(command.code), command.message)
    if refusal.final and not _answer(tx, command.order_id, refusal):
        earlier = _kept_answer(tx, command.order_id)
        return earlier if earlier.final else refusal
    return refusal


@step(reads=True)
def find_pre_order(tx: Transaction, query: MoveOrder) -> PreOrder | None:
    """The order as it was saved unconfirmed, for a flow that is run again after it died."""
    unconfirmed = (order.c.order_id == query.order_id) & (order.c.order_status == UNCONFIRMED)
    row = tx.one(select(order).where(unconfirmed))
    if row is None:
        return None
    found = dict(row._mapping)
    asked = PlaceOrder(**{field: found[field] for field in PlaceOrder.model_fields})
    worked_out = {field: found[field] for field in PreOrder.model_fields if field in found}
    return PreOrder(request=asked, **worked_out)


@step(reads=True)
def find_answer(tx: Transaction, query: MoveOrder) -> Result[Any]:
    """The final answer to an order's request, where it is decided."""
    return _kept_answer(tx, query.order_id)


@step()
def record_cancelled(tx: Transaction, event: Event) -> None:
    """The cancel message went round: note when."""
    mine = (order.c.order_id == event.order_id) & order.c.cancel_time.is_(None)
    tx.execute(update(order).where(mine).values(cancel_time=tx.now))


@step(reads=True)
def find_order(tx: Transaction, query: MoveOrder) -> Result[Any]:
    """Look an order up; an unconfirmed one is not shown, and may still become one."""
    row = tx.one(select(order).where(order.c.order_id == query.order_id))
    if row is None and _never_will_be(tx, query.order_id):
        text = f"order {query.order_id}: there is no such order"
        return Result[OrderFound].no(Code.ORDER_NOT_FOUND, text)
    if row is None or row.order_status == UNCONFIRMED:
        return undecided(query.order_id)
    return Result[OrderFound].ok(OrderFound.model_validate(dict(row._mapping)))


@step(reads=True)
def find_expired(tx: Transaction, _command: None) -> list[int]:
    """Unconfirmed orders past their deadline: their flow died, or hangs."""
    overdue = (order.c.order_status == UNCONFIRMED) & (order.c.order_id < _deadline(tx))
    return list(tx.execute(select(order.c.order_id).where(overdue).limit(_BATCH)).scalars())


@step(reads=True)
def find_unpaid(tx: Transaction, _command: None) -> list[int]:
    """Confirmed orders whose time to pay is over, by the lab clock."""
    since = tx.now - timedelta(seconds=tx.settings.unpaid_order_ttl)
    overdue = (
        (order.c.order_status == CONFIRMED)
        & (order.c.pay_status == UNPAID)
        & (order.c.confirm_time <= since)
    )
    return list(tx.execute(select(order.c.order_id).where(overdue).limit(_BATCH)).scalars())


def undecided(order_id: int) -> Result[Any]:
    """The order may come to be or not: ask for it."""
    text = f"order {order_id}: is not decided yet; ask for it with GET /order/{order_id}"
    return Result[Any].no(Code.ORDER_UNDECIDED, text, OrderPlaced(order_id=order_id))


def cancelled_answer(command: CancelOrder) -> Result[OrderPlaced]:
    """What the client of a cancelled order is told, now and whenever it asks under its key."""
    text = f"order {command.order_id}: was cancelled: {command.reason}; nothing is kept of it"
    placed = OrderPlaced(order_id=command.order_id)
    return Result[OrderPlaced].no(Code(command.code), text, placed)


def _cancel(tx: Transaction, name: str, command: CancelOrder, old: int) -> Result[Any]:
    """Cancel by compare-and-swap from an old status, with the message in the same transaction."""
    operation = claim(tx, name, command)
    if operation.earlier:
        return operation.earlier
    cancelled = {"order_status": CANCELLED, "cancel_reason": command.reason}
    if not _swap(tx, command.order_id, (old, UNPAID), **cancelled):
        text = f"order {command.order_id}: cannot be cancelled any more, or is cancelled already"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    _answer(tx, command.order_id, cancelled_answer(command))
    tx.emit(OrderCancelled(order_id=command.order_id))
    return operation.apply(data=OrderPlaced(order_id=command.order_id))


def _swap(tx: Transaction, order_id: int, old: tuple[int, int], **new: Any) -> bool:
    state = (order.c.order_status == old[0]) & (order.c.pay_status == old[1])
    mine = (order.c.order_id == order_id) & state
    return bool(tx.execute(update(order).where(mine).values(**new)).rowcount)


def _answer(tx: Transaction, order_id: int, answer: Result[Any]) -> bool:
    """Keep the first final answer of a request for whoever asks again under its key."""
    mine = (request.c.order_id == order_id) & request.c.answer.is_(None)
    kept = tx.execute(update(request).where(mine).values(answer=answer.model_dump_json()))
    return bool(kept.rowcount)


def _kept_answer(tx: Transaction, order_id: int) -> Result[Any]:
    mine = select(request.c.answer).where(request.c.order_id == order_id)
    kept = tx.execute(mine).scalar_one_or_none()
    return Result[Any].model_validate_json(kept) if kept else undecided(order_id)


def _pay_if_nothing_is_left(tx: Transaction, order_id: int) -> None:
    free = (order.c.order_id == order_id) & (order.c.pay_amount == 0)
    paid = {"pay_status": PAID, "pay_time": tx.now}
    if tx.execute(update(order).where(free).values(**paid)).rowcount:
        user_id = tx.execute(select(order.c.user_id).where(free)).scalar_one()
        tx.emit(OrderPaid(order_id=order_id, user_id=user_id, pay_amount=0))


def _order_of(tx: Transaction, command: UserOrder) -> Result[Any] | None:
    """What stands against a user's wish about an order; None where it is the user's and decided."""
    row = tx.one(select(order).where(order.c.order_id == command.order_id))
    if row is None or row.user_id != command.user_id:
        text = f"order {command.order_id}: user_id {command.user_id} has no such order"
        return Result[Any].no(Code.ORDER_NOT_FOUND, text)
    return undecided(command.order_id) if row.order_status == UNCONFIRMED else None


def _exists(tx: Transaction, order_id: int) -> bool:
    return tx.one(select(order.c.order_id).where(order.c.order_id == order_id)) is not None


def _never_will_be(tx: Transaction, order_id: int) -> bool:
    """Whether an order that is not there can no longer come: refused, too late, or not ours."""
    asked = tx.one(select(request.c.answer).where(request.c.order_id == order_id))
    refused = asked is not None and asked.answer is not None
    return refused or _too_late(tx, order_id) or made_at_ms(order_id) > tx.wall_ms


def _deadline(tx: Transaction) -> int:
    """Ids below this one are of orders past the unconfirmed deadline (wall clock)."""
    return first_of(tx.wall_ms - int(tx.settings.unconfirmed_deadline * 1000))


def _too_late(tx: Transaction, order_id: int) -> bool:
    return order_id < _deadline(tx)
