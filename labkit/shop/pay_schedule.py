"""When the platform is asked again about a payment or a refund: on a growing delay, for ever.

A try is claimed before it is made, by putting the next one off: so one instance makes it, and one
that dies over it has lost nothing.
"""

import random

from labkit.runtime.steps import Transaction, step
from labkit.shop import pay_rows as rows
from labkit.shop.pay_messages import Due, FindPayment, PayTrouble, RefundDue
from labkit.shop.tables import REFUND_OPEN

_MOST_DOUBLINGS = 20


@step(reads=True)
def find_due_checks(tx: Transaction, _command: None) -> list[Due]:
    """Payments about which the platform is to be asked now."""
    return [
        Due(id=row.pay_id, at=row.next_check) for row in tx.run(rows.due_checks(tx.wall_ms)).found
    ]


@step(reads=True)
def find_due_refunds(tx: Transaction, _command: None) -> list[Due]:
    """Refunds that are to be sent now."""
    return [
        Due(id=row.refund_id, at=row.next_try) for row in tx.run(rows.due_refunds(tx.wall_ms)).found
    ]


@step(reads=True)
def find_refund_of(tx: Transaction, query: FindPayment) -> Due | None:
    """The refund of a payment that is not made yet, due or not."""
    row = tx.one(rows.find_refund_of(query.pay_id))
    return Due(id=row.refund_id, at=row.next_try) if row and row.state == REFUND_OPEN else None


@step()
def claim_check(tx: Transaction, due: Due) -> bool:
    """Put a payment's next check off; whether it is ours to ask now."""
    tries = tx.run(rows.find(due.id)).one().tries
    return bool(tx.change(rows.claim_check(due.id, due.at, _later(tx, tries))))


@step()
def claim_refund(tx: Transaction, due: Due) -> RefundDue | None:
    """Put a refund's next try off, and give what is to be sent, if it is ours to send now."""
    row = tx.run(rows.find_refund(due.id)).one()
    if not tx.change(rows.claim_refund(due.id, due.at, _later(tx, row.tries))):
        return None
    return RefundDue(
        refund_id=row.refund_id, pay_id=row.pay_id, order_id=row.order_id, amount=row.amount
    )


@step()
def note_check_trouble(tx: Transaction, trouble: PayTrouble) -> None:
    """Keep why the platform could not be asked about a payment."""
    tx.change(rows.note_check_error(trouble.id, trouble.error))


@step()
def note_refund_trouble(tx: Transaction, trouble: PayTrouble) -> None:
    """Keep why a refund could not be sent."""
    tx.change(rows.note_refund_error(trouble.id, trouble.error))


def _later(tx: Transaction, tries: int) -> int:
    """The next try, after so many: twice as long each time, with jitter."""
    doubled = tx.settings.check_first * 2 ** min(tries + 1, _MOST_DOUBLINGS)
    delay = min(doubled, tx.settings.check_max) * random.uniform(0.75, 1)
    return tx.wall_ms + int(delay * 1000)
