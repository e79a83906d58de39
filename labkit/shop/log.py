"""Log service (日志服务): payments and refunds, for the books."""

from sqlalchemy import Executable, select

from labkit.results import Result
from labkit.runtime import Transaction, claim, statement, step, undo
from labkit.shop.messages import OrderPaid, OrderRefunded
from labkit.shop.pay.messages import FindPayLog, PayLogFound, PayLogLine
from labkit.shop.states import PayLogDirection
from labkit.shop.tables import pay_log


@statement
def _of_order(order_id: int) -> Executable:
    mine = select(pay_log).where(pay_log.c.order_id == order_id)
    return mine.order_by(pay_log.c.pay_id, pay_log.c.direction)


@step()
def log_payment(tx: Transaction, event: OrderPaid) -> None:
    """Log the payment of an order (支付日志)."""
    operation = claim(tx, "log_payment", event, subject_id=event.pay_id)
    if not operation.previous_result:
        _write(tx, event, PayLogDirection.PAID, event.pay_amount)
        operation.apply(amount=event.pay_amount)


@step()
def log_refund(tx: Transaction, event: OrderRefunded) -> None:
    """Log the refund of a payment that was logged."""
    amount = undo(tx, "log_payment", event.pay_id)
    if amount is not None:
        _write(tx, event, PayLogDirection.REFUNDED, amount)


@step(reads=True)
def find_pay_log(tx: Transaction, query: FindPayLog) -> Result[PayLogFound]:
    """Look up the logged payments and refunds of an order."""
    fields = PayLogLine.model_fields
    lines = tuple(
        PayLogLine(**{field: getattr(row, field) for field in fields})
        for row in tx.run(_of_order(query.order_id)).rows
    )
    return Result[PayLogFound].ok(PayLogFound(lines=lines))


def _write(
    tx: Transaction, event: OrderPaid | OrderRefunded, direction: PayLogDirection, amount: int
) -> None:
    row = {"pay_id": event.pay_id, "direction": direction, "order_id": event.order_id}
    tx.insert(pay_log, **row, user_id=event.user_id, amount=amount, log_time=tx.now)
