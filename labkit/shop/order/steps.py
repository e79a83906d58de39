"""Order service (订单服务): the steps of one order's life in the order database.

Every change of state is a compare-and-swap on the old state, so that of a confirm, a sweeper's
cancel and a user's cancel that meet, exactly one wins.
"""

from labkit.results import Result
from labkit.runtime import Event, Transaction, claim, step, undo
from labkit.shop.codes import Code
from labkit.shop.messages import (
    CancelOrder,
    ConfirmPreOrder,
    FindOrder,
    Opening,
    OpenOrder,
    OrderCancelled,
    OrderFound,
    OrderPaid,
    OrderPlaced,
    OrderRefunded,
    OrderReturned,
    PreOrder,
    RefuseOrder,
    UserOrder,
)
from labkit.shop.order import queries
from labkit.shop.order import statements as rows
from labkit.shop.order.answers import undecided
from labkit.shop.states import OrderStatus, PayStatus
from labkit.shop.tables import order, request


@step(failed=Code.DEPENDENCY_AWAY)
def open_order(tx: Transaction, command: OpenOrder) -> Result[Opening]:
    """Bind a user's idempotency key to an order id, before anything else happens.

    The key and the hash of the request are the operation here: the same request gets the same order
    id again, and another request under this key is refused.
    """
    user_id, key = command.user_id, command.idempotency_key
    new_id = tx.ids.next()
    if tx.insert_once(
        request,
        user_id=user_id,
        idempotency_key=key,
        order_id=new_id,
        request_hash=command.request_hash,
        add_time=tx.now,
    ):
        return Result[Opening].ok(Opening(order_id=new_id))
    bound = tx.first(rows.request_of_key(user_id, key))
    if bound.request_hash != command.request_hash:
        text = f"Idempotency-Key {command.idempotency_key!r} was used for another request"
        return Result[Opening].refused(
            Code.IDEMPOTENCY_KEY_REUSED, f"{text} (order {bound.order_id})"
        )
    is_late = bound.answer is None and rows.is_late(tx, bound.order_id)
    if is_late and not rows.exists(tx, bound.order_id):
        # nothing was saved under the old id, and nothing ever will be: start afresh
        tx.run(rows.rebind_key(user_id, key, new_id))
        return Result[Opening].ok(Opening(order_id=new_id))
    return Result[Opening].ok(Opening(order_id=bound.order_id, answer=bound.answer))


@step(failed=Code.ORDER_SAVE_FAILED)
def save_pre_order(tx: Transaction, command: PreOrder) -> Result[OrderPlaced]:
    """Save the order unconfirmed (预订单): the user does not see it yet.

    An id that is past its deadline is refused. A 404 is final not because of that clock, but
    because an answer was stored before it was sent: this step locks the request's row only if it
    has no answer.
    """
    operation = claim(tx, "save_pre_order", command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if rows.is_late(tx, command.order_id):
        text = f"order {command.order_id}: took too long before it was saved; place it again"
        return operation.refuse(Code.DEPENDENCY_AWAY, text)
    if not tx.expect_update(rows.hold_unanswered(command.order_id)):
        answer = rows.kept_answer(tx, command.order_id)
        if Code(answer.code).is_final:  # the same request, run at the same time, was refused
            return operation.release(answer)
        text = f"order {command.order_id}: its Idempotency-Key stands for another order by now"
        return operation.refuse(Code.DEPENDENCY_AWAY, text)
    figures = command.request.model_dump()
    amounts = command.model_dump(exclude={"request"})
    state = {
        "order_status": OrderStatus.UNCONFIRMED,
        "pay_status": PayStatus.UNPAID,
        "shipping_status": 0,
    }
    tx.insert(order, **figures, **amounts, **state, add_time=tx.now)
    return operation.apply(amount=command.request.order_amount)


@step(failed=Code.ORDER_CONFIRM_FAILED)
def confirm_pre_order(tx: Transaction, command: ConfirmPreOrder) -> Result[OrderPlaced]:
    """Confirm the order (确认订单); one with nothing left to pay is paid in the same step."""
    operation = claim(tx, "confirm_order", command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(rows.confirm(**command.model_dump(), now=tx.now)):
        text = f"order {command.order_id}: was cancelled before it could be confirmed"
        return operation.refuse(Code.ORDER_CANCELLED, text)
    if not command.pay_amount:
        tx.expect_update(rows.pay(command.order_id, tx.now))
        tx.emit(_paid_in_full(command))
    placed = OrderPlaced(order_id=command.order_id)
    answer = Result[OrderPlaced].ok(placed, f"order {command.order_id} is placed")
    tx.expect_update(rows.keep_first_answer(command.order_id, answer.model_dump_json()))
    return operation.apply(data=placed)


@step()
def cancel_failed(tx: Transaction, command: CancelOrder) -> Result[OrderPlaced]:
    """Cancel an order that could not be confirmed (取消订单), and tell those who took something."""
    return _cancel(tx, "cancel_failed", command, OrderStatus.UNCONFIRMED)


@step()
def cancel_expired(tx: Transaction, command: CancelOrder) -> Result[OrderPlaced]:
    """Cancel an order whose flow died before it was decided: the sweeper's step."""
    return _cancel(tx, "cancel_expired", command, OrderStatus.UNCONFIRMED)


@step()
def cancel_unpaid(tx: Transaction, command: CancelOrder) -> Result[OrderPlaced]:
    """Cancel a confirmed order that was not paid in its time."""
    return _cancel(tx, "cancel_unpaid", command, OrderStatus.CONFIRMED)


@step(failed=Code.ORDER_STATUS_UPDATE_FAILED)
def cancel_by_user(tx: Transaction, command: UserOrder) -> Result[OrderPlaced]:
    """Cancel an unpaid order for its user."""
    refusal = _refuse_unknown(tx, command)
    if refusal:
        return refusal
    reason = "cancelled by the user"
    cancel = CancelOrder(order_id=command.order_id, code=Code.ORDER_CANCELLED, reason=reason)
    return _cancel(tx, "cancel_by_user", cancel, OrderStatus.CONFIRMED)


@step(failed=Code.ORDER_STATUS_UPDATE_FAILED)
def return_order(tx: Transaction, command: UserOrder) -> Result[OrderPlaced]:
    """Return a paid order in full for its user (退货)."""
    refusal = _refuse_unknown(tx, command)
    if refusal:
        return refusal
    operation = claim(tx, "return_order", command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(rows.mark_returned(command.order_id)):
        text = f"order {command.order_id}: only a paid order that was not returned can be"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    tx.emit(OrderReturned(order_id=command.order_id))
    return operation.apply(data=OrderPlaced(order_id=command.order_id))


@step(failed=Code.DEPENDENCY_AWAY)
def refuse_order(tx: Transaction, command: RefuseOrder) -> Result[OrderPlaced]:
    """Refuse a request of which nothing was saved, and store the refusal if it is final.

    If the order was saved meanwhile (the same key, sent twice), its own answer decides.
    """
    if tx.first(rows.hold_request(command.order_id)) is None:
        # that other order's answer will be the final one
        text = f"order {command.order_id}: its Idempotency-Key stands for another order by now"
        return Result[OrderPlaced].refused(Code.DEPENDENCY_AWAY, text)
    if rows.exists(tx, command.order_id):
        return rows.kept_answer(tx, command.order_id)
    refusal = Result[OrderPlaced].refused(Code(command.code), command.message)
    store = rows.keep_first_answer(command.order_id, refusal.model_dump_json())
    if Code(refusal.code).is_final and not tx.expect_update(store):
        earlier = rows.kept_answer(tx, command.order_id)
        return earlier if Code(earlier.code).is_final else refusal
    return refusal


@step(failed=Code.DEPENDENCY_AWAY)
def rule_out(tx: Transaction, query: FindOrder) -> Result[OrderFound | OrderPlaced]:
    """Decide that a late order which is not there never will be: from then on it is not found.

    The decision is the stored answer to its request. `save_pre_order` must lock that row while it
    has no answer, so of the two one wins.
    """
    tx.first(rows.hold_request(query.order_id))
    answer = queries.find_order(tx, query)
    if answer.code != Code.ORDER_UNDECIDED or not queries.is_overdue(tx, query):
        return answer
    never = CancelOrder(order_id=query.order_id, code=Code.ORDER_CANCELLED, reason=rows.NOT_SAVED)
    final = cancelled_answer(never).model_dump_json()
    tx.expect_update(rows.keep_first_answer(query.order_id, final))
    return queries.find_order(tx, query)


@step()
def record_cancelled(tx: Transaction, event: Event) -> None:
    """Record when the order service's own consumer handled the cancel message."""
    tx.run(rows.record_cancelled(event.order_id, tx.now))


@step()
def record_paid(tx: Transaction, event: OrderPaid) -> None:
    """Set the order paid, if it is confirmed and unpaid; the pay service refunds a late payment."""
    operation = claim(tx, "record_paid", event, subject_id=event.pay_id)
    if not operation.previous_result:
        tx.expect_update(rows.pay(event.order_id, tx.now))
        operation.apply(amount=event.pay_amount)


@step()
def record_refunded(tx: Transaction, event: OrderRefunded) -> None:
    """Record when the payment of an order that ended was refunded."""
    undo(tx, "record_paid", event.pay_id)
    tx.expect_update(rows.record_refunded(event.order_id, tx.now))


def cancelled_answer(command: CancelOrder) -> Result[OrderPlaced]:
    """Return the answer to the client of a cancelled order, the same each time it sends its key."""
    text = f"order {command.order_id}: was cancelled: {command.reason}; nothing is kept of it"
    placed = OrderPlaced(order_id=command.order_id)
    return Result[OrderPlaced].refused(Code(command.code), text, placed)


def _cancel(tx: Transaction, name: str, command: CancelOrder, old: int) -> Result[OrderPlaced]:
    """Cancel by compare-and-swap from an old status, and emit the message in the transaction."""
    operation = claim(tx, name, command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(rows.cancel(command.order_id, old, command.reason)):
        text = f"order {command.order_id}: cannot be cancelled any more, or is cancelled already"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    answer = cancelled_answer(command).model_dump_json()
    tx.expect_update(rows.keep_first_answer(command.order_id, answer))
    tx.emit(OrderCancelled(order_id=command.order_id))
    return operation.apply(data=OrderPlaced(order_id=command.order_id))


def _paid_in_full(order: ConfirmPreOrder) -> OrderPaid:
    """Return the event of an order that balance and coupon have paid in full."""
    return OrderPaid(
        order_id=order.order_id, user_id=order.user_id, pay_id=order.order_id, pay_amount=0
    )


def _refuse_unknown(tx: Transaction, command: UserOrder) -> Result[OrderPlaced] | None:
    """Return a refusal if the order is not the user's, or not decided; None if it is both."""
    row = tx.first(rows.find(command.order_id))
    if row is None:
        answer = rule_out(tx, FindOrder(order_id=command.order_id))
        if answer.code != Code.ORDER_NOT_FOUND:  # it may come, or came since the query above
            return undecided(command.order_id)
    if row is None or row.user_id != command.user_id:
        text = f"order {command.order_id}: user_id {command.user_id} has no such order"
        return Result[OrderPlaced].refused(Code.ORDER_NOT_FOUND, text)
    return undecided(command.order_id) if row.order_status == OrderStatus.UNCONFIRMED else None
