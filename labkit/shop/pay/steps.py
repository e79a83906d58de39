"""Pay service (支付服务): the steps of one payment's life in the pay database.

One operation decides: `accept_payment`, of which an order has one. A payment that turns out paid
claims it, and pays for the order. A refund is decided in two places: `_accept_or_refund` refunds a
payment whose order has ended or is paid by another payment, `stop_payment` the payment of an order
that ends later. Only this database can hold both facts.
"""

from labkit.payment_api.trade_status import EXISTING_STATES, PAID_STATES, TradeStatus
from labkit.results import Result
from labkit.runtime import APPLIED, Event, Row, Transaction, claim, outcome_of, step, undo
from labkit.shop.codes import Code
from labkit.shop.messages import OrderPaid, OrderRefunded
from labkit.shop.pay import statements as rows
from labkit.shop.pay.messages import (
    AcceptPayment,
    FindPayment,
    OpenPayment,
    PaymentFound,
    TradeFound,
    TradeRefunded,
    TradeReport,
)
from labkit.shop.states import PaymentState, RefundState
from labkit.shop.tables import pay
from labkit.shop.tables import refund as refunds


@step(failed=Code.DEPENDENCY_AWAY)
def open_payment(tx: Transaction, command: OpenPayment) -> Result[PaymentFound]:
    """Save the payment, unpaid, before the platform hears of it; a second call gets the same.

    The unique open payment of an order is the operation key here.
    """
    ended = outcome_of(tx, "accept_payment", command.order_id)
    if ended:
        return _refuse_ended(command.order_id, ended)
    fresh = tx.insert_once(
        pay,
        (pay.c.open_order_id,),
        pay_id=tx.ids.next(),
        order_id=command.order_id,
        user_id=command.user_id,
        pay_amount=command.pay_amount,
        is_paid=PaymentState.OPEN,
        open_order_id=command.order_id,
        add_time=tx.now,
        tries=0,
        next_check=tx.wall_ms + int(tx.settings.check_first * 1000),
    )
    # On a server that locks rows, an order may end between the query above and the insert.
    if fresh and (ended := outcome_of(tx, "accept_payment", command.order_id, wait=True)):
        tx.expect_update(rows.delete_open(command.order_id))
        return _refuse_ended(command.order_id, ended)
    return Result[PaymentFound].ok(_view(tx, tx.first(rows.find_open(command.order_id))))


@step(failed=Code.DEPENDENCY_AWAY)
def note_trade(tx: Transaction, trade: TradeFound) -> Result[None]:
    """Record the platform's number of the trade, and refuse if its payment is no longer open.

    If the order ended while the trade was being opened, the trade is to be closed.
    """
    if trade.trade_no:
        tx.expect_update(rows.record_trade_no(trade.pay_id, trade.trade_no))
    if trade.trade_status == TradeStatus.WAIT_BUYER_PAY:
        tx.run(rows.poll_now(trade.pay_id, tx.wall_ms))
    row = tx.run(rows.find(trade.pay_id)).single()
    if row.is_paid == PaymentState.OPEN:
        return Result[None].ok()
    if ended := outcome_of(tx, "accept_payment", row.order_id):
        return Result[None].forward(_refuse_ended(row.order_id, ended))
    text = f"order {row.order_id}: its payment {row.pay_id} was given up or ran out"
    return Result[None].refused(Code.PAYMENT_ERROR, f"{text}; ask for another")


@step(failed=Code.DEPENDENCY_AWAY)
def take_payment(tx: Transaction, trade: TradeReport) -> Result[None]:
    """Apply the state of a trade, from a callback or an answer of the platform, to its payment.

    Payment, operation, and message or refund are one transaction; a second report changes nothing.
    "Paid" and "closed" are final, so they are applied whenever they come. "Waiting" may be over by
    now, so it changes nothing.
    """
    row = tx.first(rows.find(trade.pay_id))
    if row is None:
        text = f"payment {trade.pay_id}: there is no such payment"
        return Result[None].refused(Code.PAYMENT_NOT_FOUND, text)
    problem = _contradiction(row, trade)
    if problem:
        return Result[None].refused(Code.PAYMENT_ERROR, f"payment {trade.pay_id}: {problem}")
    if trade.trade_status == TradeStatus.TRADE_CLOSED:
        if trade.trade_no:  # the answer that carried it may have been lost
            tx.expect_update(rows.record_trade_no(trade.pay_id, trade.trade_no))
        tx.expect_update(rows.mark_closed(trade.pay_id, tx.now))
        tx.expect_update(rows.stop_polling(trade.pay_id))
    elif trade.trade_status in PAID_STATES:
        if tx.expect_update(rows.mark_paid(trade.pay_id, str(trade.trade_no), tx.now)):
            _accept_or_refund(tx, row)
        else:
            tx.run(rows.stop_polling(trade.pay_id))
    return Result[None].ok(message=f"payment {trade.pay_id}: {trade.trade_status} is known")


@step()
def stop_payment(tx: Transaction, event: Event) -> None:
    """Refuse a later payment of an ended order, close its open one, refund its paid one."""
    if undo(tx, "accept_payment", event.order_id) is not None:
        _open_refund(tx, tx.run(rows.find_accepted(event.order_id)).single(), "the order has ended")
    tx.run(rows.close_open(event.order_id, tx.now, tx.wall_ms))


@step()
def finish_refund(tx: Transaction, done: TradeRefunded) -> None:
    """Record that the platform has given the money back, and tell the services that count on it."""
    if tx.expect_update(rows.finish_refund(done.refund_id, tx.now)):
        row = tx.run(rows.find_refund(done.refund_id)).single()
        tx.emit(
            OrderRefunded(
                order_id=row.order_id,
                user_id=row.user_id,
                pay_id=row.pay_id,
                refund_id=row.refund_id,
                amount=row.amount,
            )
        )


@step(reads=True)
def find_payment(tx: Transaction, query: FindPayment) -> Result[PaymentFound]:
    """Look a payment up."""
    row = tx.first(rows.find(query.pay_id))
    if row is None:
        text = f"payment {query.pay_id}: there is no such payment"
        return Result[PaymentFound].refused(Code.PAYMENT_NOT_FOUND, text)
    return Result[PaymentFound].ok(_view(tx, row))


def _contradiction(row: Row, trade: TradeReport) -> str:
    """Return what in the report cannot be true of this payment; empty if all of it fits."""
    if trade.trade_status not in EXISTING_STATES:
        return f"{trade.trade_status} is no state of a trade"
    if trade.trade_status in PAID_STATES and not trade.trade_no:
        return "the platform says that it is paid, and names no trade"
    if trade.total_amount != row.pay_amount:
        return f"the platform says {trade.total_amount} cents, and {row.pay_amount} were asked for"
    if trade.trade_no and row.trade_no not in (None, trade.trade_no):
        return f"the platform says trade {trade.trade_no}, and it is trade {row.trade_no}"
    return ""


def _accept_or_refund(tx: Transaction, row: Row) -> None:
    accept = AcceptPayment(order_id=row.order_id, pay_id=row.pay_id, pay_amount=row.pay_amount)
    operation = claim(tx, "accept_payment", accept)
    if operation.previous_result:
        return _open_refund(tx, row, "the order has ended, or is paid by another payment")
    operation.apply(amount=row.pay_amount)
    return tx.emit(
        OrderPaid(
            order_id=row.order_id, user_id=row.user_id, pay_id=row.pay_id, pay_amount=row.pay_amount
        )
    )


def _open_refund(tx: Transaction, row: Row, reason: str) -> None:
    """Open the refund of a paid payment, once, under an id of its own; `polling` sends it."""
    tx.insert_once(
        refunds,
        (refunds.c.pay_id,),
        refund_id=tx.ids.next(),
        pay_id=row.pay_id,
        order_id=row.order_id,
        user_id=row.user_id,
        amount=row.pay_amount,
        state=RefundState.OPEN,
        reason=reason,
        tries=0,
        next_try=tx.wall_ms,
        add_time=tx.now,
    )


def _refuse_ended(order_id: int, outcome: str) -> Result[PaymentFound]:
    if outcome == APPLIED:
        text = f"order {order_id}: is paid already"
        return Result[PaymentFound].refused(Code.PAYMENT_ALREADY_PAID, text)
    text = f"order {order_id}: was cancelled or returned, and cannot be paid"
    return Result[PaymentFound].refused(Code.ORDER_NOT_PAYABLE, text)


def _view(tx: Transaction, row: Row) -> PaymentFound:
    is_paid = row.is_paid == PaymentState.PAID
    refund = tx.first(rows.find_refund_of(row.pay_id)) if is_paid else None
    return PaymentFound(
        pay_id=row.pay_id,
        order_id=row.order_id,
        user_id=row.user_id,
        is_paid=row.is_paid,
        pay_amount=row.pay_amount,
        trade_no=row.trade_no,
        add_time=row.add_time,
        pay_time=row.pay_time,
        refund_id=refund and refund.refund_id,
        refund_time=refund and refund.refund_time,
    )
