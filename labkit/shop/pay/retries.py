"""Retries: when the platform is asked again about a payment or a refund, on a growing delay.

An instance claims a try before it makes it, by postponing the next one: so one instance makes it,
and if it dies, the next try comes all the same. That time is the end of its *lease*: an answer that
finds another lease in the row was overtaken, and writes nothing.
"""

from labkit.runtime import Backoff, Row, Transaction, step
from labkit.shop.pay import statements as rows
from labkit.shop.pay.messages import AttemptFailure, DueCheck, DueQuery, DueRefund, FindPayment
from labkit.shop.states import RefundState


@step(reads=True)
def find_due_checks(tx: Transaction, query: DueQuery) -> list[int]:
    """Find payments about which the platform is to be asked now."""
    return tx.run(rows.due_checks(tx.wall_ms, query.limit)).column()


@step(reads=True)
def find_due_refunds(tx: Transaction, query: DueQuery) -> list[int]:
    """Find refunds that are to be sent now."""
    return tx.run(rows.due_refunds(tx.wall_ms, query.limit)).column()


@step(reads=True)
def find_check(tx: Transaction, query: FindPayment) -> DueCheck:
    """Find a payment to ask about it, due or not: a person wants to know."""
    row = tx.run(rows.find(query.pay_id)).single()
    return _check(row, row.next_check)


@step(reads=True)
def find_refund_of(tx: Transaction, query: FindPayment) -> DueRefund | None:
    """Find the refund of a payment that is not made yet, due or not."""
    row = tx.first(rows.find_refund_of(query.pay_id))
    return _refund(row, row.next_try) if row and row.state == RefundState.OPEN else None


@step()
def claim_check(tx: Transaction, query: DueQuery) -> list[DueCheck]:
    """Claim payments that are due, the most overdue first, by postponing their next checks."""
    claimed = []
    for row in tx.run(rows.lock_due_checks(tx.wall_ms, query.limit)).rows:
        lease_until = _later(tx, row.tries)
        if tx.expect_update(rows.claim_check(row.pay_id, row.next_check, lease_until)):
            claimed.append(_check(row, lease_until))
    return claimed


@step()
def claim_refund(tx: Transaction, query: DueQuery) -> list[DueRefund]:
    """Claim refunds that are due, the most overdue first, by postponing their next tries."""
    claimed = []
    for row in tx.run(rows.lock_due_refunds(tx.wall_ms, query.limit)).rows:
        lease_until = _later(tx, row.tries)
        if tx.expect_update(rows.claim_refund(row.refund_id, row.next_try, lease_until)):
            claimed.append(_refund(row, lease_until))
    return claimed


@step()
def note_check_trouble(tx: Transaction, failure: AttemptFailure) -> None:
    """Keep why the platform could not be asked about a payment, if that is still to be asked."""
    tx.run(rows.note_check_error(failure.id, failure.lease_until, failure.error))


@step()
def note_refund_trouble(tx: Transaction, failure: AttemptFailure) -> None:
    """Keep why a refund could not be sent, if that is still to be sent."""
    tx.run(rows.note_refund_error(failure.id, failure.lease_until, failure.error))


def _check(row: Row, lease_until: int | None) -> DueCheck:
    return DueCheck(
        pay_id=row.pay_id,
        order_id=row.order_id,
        pay_amount=row.pay_amount,
        is_paid=row.is_paid,
        add_time=row.add_time,
        lease_until=lease_until,
        troubled=row.last_error is not None,
    )


def _refund(row: Row, lease_until: int) -> DueRefund:
    return DueRefund(
        refund_id=row.refund_id,
        pay_id=row.pay_id,
        order_id=row.order_id,
        amount=row.amount,
        lease_until=lease_until,
    )


def _later(tx: Transaction, tries: int) -> int:
    """Return the time of the try that follows so many, counting the one that begins now."""
    backoff = Backoff.doubling(tx.settings.check_first, tx.settings.check_max, jitter=0.25)
    return tx.wall_ms + backoff.delay_ms(tries + 1)
