"""Manual operations: abandon the polling of a payment or its refund, and resume it.

Abandoning loses no money: the row stays, `labkit check` shows where platform and shop differ, and
a callback that comes after all is applied.
"""

from labkit.results import Result
from labkit.runtime import Row, StuckItem, Transaction, given_up, step
from labkit.shop.codes import Code
from labkit.shop.pay import statements as rows
from labkit.shop.states import PaymentState, RefundState


@step()
def give_up_payment(tx: Transaction, item: StuckItem) -> Result[None]:
    """Stop asking about a payment, or sending its refund, and store the cause."""
    payment, refund = _find(tx, item)
    if refund:
        tx.run(rows.abandon_refund(refund.pay_id, given_up(refund.last_error)))
    elif payment:
        tx.run(rows.abandon_check(payment.pay_id, given_up(payment.last_error)))
    if not _is_abandoned(*_find(tx, item)):  # the platform's answer may have been quicker
        return _refuse(item)
    return Result[None].ok(message=f"{_name(item, refund)} is given up")


@step()
def take_back_payment(tx: Transaction, item: StuckItem) -> Result[None]:
    """Resume the polling of an abandoned payment, or the sending of its refund: due now."""
    payment, refund = _find(tx, item)
    if refund:
        tx.run(rows.resume_refund(refund.pay_id, tx.wall_ms))
    elif payment:
        tx.run(rows.resume_check(payment.pay_id, tx.wall_ms))
    if not _is_active(*_find(tx, item)):
        return _refuse(item)
    return Result[None].ok(message=f"{_name(item, refund)} is taken back")


def _find(tx: Transaction, item: StuckItem) -> tuple[Row, Row]:
    payment = tx.first(rows.find_stuck(item.number))
    paid = payment and payment.is_paid == PaymentState.PAID
    return payment, tx.first(rows.find_refund_of(payment.pay_id)) if paid else None


def _is_abandoned(payment: Row, refund: Row) -> bool:
    if refund:
        return bool(refund.state == RefundState.GIVEN_UP)
    unpaid = payment and payment.is_paid != PaymentState.PAID
    return bool(unpaid and payment.next_check is None and payment.last_error)


def _is_active(payment: Row, refund: Row) -> bool:
    if refund:
        return bool(refund.state == RefundState.OPEN)
    return bool(payment and payment.next_check is not None)


def _name(item: StuckItem, refund: Row) -> str:
    return f"{'refund' if refund else 'payment'} {item.number}"


def _refuse(item: StuckItem) -> Result[None]:
    return Result[None].refused(Code.BAD_REQUEST, f"{item.number} waits for nobody in pay")
