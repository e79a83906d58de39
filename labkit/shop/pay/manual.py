"""A payment or a refund given up by hand: the platform is asked no more, until it is taken back.

No money is forgotten by it: the row stays, the check shows what platform and shop do not agree
about, and a callback that comes after all is taken.
"""

from typing import Any

from labkit.results import Result
from labkit.runtime import StuckItem, Transaction, given_up, step
from labkit.shop.codes import Code
from labkit.shop.pay import statements as rows
from labkit.shop.states import PaymentState, RefundState


@step()
def give_up_payment(tx: Transaction, thing: StuckItem) -> Result[None]:
    """Stop asking about a payment, or sending its refund; the cause is kept."""
    payment, refund = _find(tx, thing)
    if refund:
        tx.run(rows.abandon_refund(refund.pay_id, given_up(refund.last_error)))
    elif payment:
        tx.run(rows.abandon_check(payment.pay_id, given_up(payment.last_error)))
    if not _is_dead(*_find(tx, thing)):  # the platform's answer may have been quicker
        return _no(thing)
    return Result[None].ok(message=f"{_name(thing, refund)} is given up")


@step()
def take_back_payment(tx: Transaction, thing: StuckItem) -> Result[None]:
    """Ask about a payment again that was given up, or send its refund: due now."""
    payment, refund = _find(tx, thing)
    if refund:
        tx.run(rows.resume_refund(refund.pay_id, tx.wall_ms))
    elif payment:
        tx.run(rows.resume_check(payment.pay_id, tx.wall_ms))
    if not _is_tried(*_find(tx, thing)):
        return _no(thing)
    return Result[None].ok(message=f"{_name(thing, refund)} is taken back")


def _find(tx: Transaction, thing: StuckItem) -> tuple[Any, Any]:
    payment = tx.first(rows.find_stuck(thing.number))
    paid = payment and payment.is_paid == PaymentState.PAID
    return payment, tx.first(rows.find_refund_of(payment.pay_id)) if paid else None


def _is_dead(payment: Any, refund: Any) -> bool:
    if refund:
        return bool(refund.state == RefundState.GIVEN_UP)
    unpaid = payment and payment.is_paid != PaymentState.PAID
    return bool(unpaid and payment.next_check is None and payment.last_error)


def _is_tried(payment: Any, refund: Any) -> bool:
    if refund:
        return bool(refund.state == RefundState.OPEN)
    return bool(payment and payment.next_check is not None)


def _name(thing: StuckItem, refund: Any) -> str:
    return f"{'refund' if refund else 'payment'} {thing.number}"


def _no(thing: StuckItem) -> Result[None]:
    return Result[None].refused(Code.BAD_REQUEST, f"{thing.number} waits for nobody in pay")
