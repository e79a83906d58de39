"""The statements of the pay service on its database."""

from datetime import datetime

from sqlalchemy import Executable, delete, select, update

from labkit.runtime import statement
from labkit.shop.states import PaymentState, RefundState
from labkit.shop.tables import pay, refund


@statement
def find(pay_id: int) -> Executable:
    """Find a payment."""
    return select(pay).where(pay.c.pay_id == pay_id)


@statement
def find_open(order_id: int) -> Executable:
    """Find the open payment of an order."""
    return select(pay).where(pay.c.open_order_id == order_id)


@statement
def delete_open(order_id: int) -> Executable:
    """Delete the open payment that was just inserted, before anybody knows of it."""
    return delete(pay).where(pay.c.open_order_id == order_id)


@statement
def find_refund_of(pay_id: int) -> Executable:
    """Find the refund of a payment."""
    return select(refund).where(refund.c.pay_id == pay_id)


@statement
def find_accepted(order_id: int) -> Executable:
    """Find the payment by which an order is paid: paid, and without a refund."""
    goes_back = select(refund.c.refund_id).where(refund.c.pay_id == pay.c.pay_id).exists()
    return select(pay).where(
        pay.c.order_id == order_id, pay.c.is_paid == PaymentState.PAID, ~goes_back
    )


@statement
def mark_paid(pay_id: int, trade_no: str, now: datetime) -> Executable:
    """Set open or closed → paid: if the platform has the money, our closing came too late."""
    not_paid = (pay.c.pay_id == pay_id) & (pay.c.is_paid != PaymentState.PAID)
    return (
        update(pay)
        .where(not_paid)
        .values(is_paid=PaymentState.PAID, trade_no=trade_no, pay_time=now, **_NO_POLLING)
    )


@statement
def mark_closed(pay_id: int, now: datetime) -> Executable:
    """Set open → closed, because the platform closed the trade."""
    this = (pay.c.pay_id == pay_id) & (pay.c.is_paid == PaymentState.OPEN)
    return update(pay).where(this).values(is_paid=PaymentState.CLOSED, close_time=now)


@statement
def close_open(order_id: int, now: datetime, now_ms: int) -> Executable:
    """Set open → closed, because the order has ended; the platform is asked at once to close it."""
    this = (pay.c.open_order_id == order_id) & (pay.c.is_paid == PaymentState.OPEN)
    closed = {"is_paid": PaymentState.CLOSED, "close_time": now, "open_order_id": None}
    return update(pay).where(this).values(**closed, tries=0, next_check=now_ms)


@statement
def stop_polling(pay_id: int) -> Executable:
    """Stop asking about a payment that is not open: the platform's answer is final."""
    done = (pay.c.pay_id == pay_id) & (pay.c.is_paid != PaymentState.OPEN)
    return update(pay).where(done).values(**_NO_POLLING)


@statement
def record_trade_no(pay_id: int, trade_no: str) -> Executable:
    """Record the platform's number of a payment."""
    return update(pay).where(pay.c.pay_id == pay_id).values(trade_no=trade_no)


@statement
def poll_now(pay_id: int, now_ms: int) -> Executable:
    """Ask the platform now to close a payment that closed here while its trade was being opened."""
    closed = (pay.c.pay_id == pay_id) & (pay.c.is_paid == PaymentState.CLOSED)
    given_up = pay.c.next_check.is_(None) & pay.c.last_error.is_not(None)
    return update(pay).where(closed & ~given_up).values(next_check=now_ms)


@statement
def due_checks(now_ms: int, limit: int) -> Executable:
    """Find the payments that are due for a check, the most overdue first."""
    due = select(pay.c.pay_id).where(pay.c.next_check <= now_ms)
    return due.order_by(pay.c.next_check).limit(limit)


@statement
def lock_due_checks(now_ms: int, limit: int) -> Executable:
    """Lock the payments that are due for a check, but those that another instance is claiming."""
    due = select(pay).where(pay.c.next_check <= now_ms).order_by(pay.c.next_check).limit(limit)
    return due.with_for_update(skip_locked=True)


@statement
def claim_check(pay_id: int, expected: int, lease_until: int) -> Executable:
    """Postpone the next check with a compare-and-swap; the winner asks."""
    this = (pay.c.pay_id == pay_id) & (pay.c.next_check == expected)
    return update(pay).where(this).values(next_check=lease_until, tries=pay.c.tries + 1)


@statement
def note_check_error(pay_id: int, lease_until: int, error: str | None) -> Executable:
    """Store the error of a check, or None after a good one, unless it was overtaken."""
    this = (pay.c.pay_id == pay_id) & (pay.c.next_check == lease_until)
    return update(pay).where(this).values(last_error=error)


@statement
def due_refunds(now_ms: int, limit: int) -> Executable:
    """Find the refunds that are due, the most overdue first."""
    due = (refund.c.state == RefundState.OPEN) & (refund.c.next_try <= now_ms)
    return select(refund.c.refund_id).where(due).order_by(refund.c.next_try).limit(limit)


@statement
def lock_due_refunds(now_ms: int, limit: int) -> Executable:
    """Lock the refunds that are due, but those that another instance is claiming."""
    due = (refund.c.state == RefundState.OPEN) & (refund.c.next_try <= now_ms)
    first = select(refund).where(due).order_by(refund.c.next_try).limit(limit)
    return first.with_for_update(skip_locked=True)


@statement
def find_refund(refund_id: int) -> Executable:
    """Find a refund."""
    return select(refund).where(refund.c.refund_id == refund_id)


@statement
def claim_refund(refund_id: int, expected: int, lease_until: int) -> Executable:
    """Postpone the next try with a compare-and-swap; the winner sends it."""
    this = (refund.c.refund_id == refund_id) & (refund.c.state == RefundState.OPEN)
    swap = this & (refund.c.next_try == expected)
    return update(refund).where(swap).values(next_try=lease_until, tries=refund.c.tries + 1)


@statement
def note_refund_error(refund_id: int, lease_until: int, error: str | None) -> Executable:
    """Store why a refund could not be sent, unless that was overtaken."""
    this = (refund.c.refund_id == refund_id) & (refund.c.state == RefundState.OPEN)
    return update(refund).where(this & (refund.c.next_try == lease_until)).values(last_error=error)


@statement
def finish_refund(refund_id: int, now: datetime) -> Executable:
    """Set open or given up → refunded: the platform has given the money back."""
    this = (refund.c.refund_id == refund_id) & (refund.c.state != RefundState.REFUNDED)
    done = {"state": RefundState.REFUNDED, "refund_time": now, "last_error": None}
    return update(refund).where(this).values(**done)


@statement
def find_stuck(number: int) -> Executable:
    """Find the payment that has a number, or whose refund has it."""
    of_refund = select(refund.c.pay_id).where(refund.c.refund_id == number).scalar_subquery()
    return select(pay).where((pay.c.pay_id == number) | (pay.c.pay_id == of_refund))


@statement
def abandon_check(pay_id: int, error: str) -> Executable:
    """Stop asking the platform; a cause without a next check marks the check as abandoned."""
    active = (pay.c.pay_id == pay_id) & pay.c.next_check.is_not(None)
    return update(pay).where(active).values(next_check=None, last_error=error)


@statement
def resume_check(pay_id: int, now_ms: int) -> Executable:
    """Ask the platform again about a payment whose check was abandoned."""
    given_up = pay.c.next_check.is_(None) & pay.c.last_error.is_not(None)
    dead = (pay.c.pay_id == pay_id) & (pay.c.is_paid != PaymentState.PAID) & given_up
    return update(pay).where(dead).values(next_check=now_ms, tries=0)


@statement
def abandon_refund(pay_id: int, error: str) -> Executable:
    """Set open → given up."""
    this = (refund.c.pay_id == pay_id) & (refund.c.state == RefundState.OPEN)
    return update(refund).where(this).values(state=RefundState.GIVEN_UP, last_error=error)


@statement
def resume_refund(pay_id: int, now_ms: int) -> Executable:
    """Set given up → open, due now."""
    dead = (refund.c.pay_id == pay_id) & (refund.c.state == RefundState.GIVEN_UP)
    return update(refund).where(dead).values(state=RefundState.OPEN, next_try=now_ms, tries=0)


_NO_POLLING = {"open_order_id": None, "next_check": None, "last_error": None}
