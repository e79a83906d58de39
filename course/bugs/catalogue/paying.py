"""Bugs of paying: what is believed of a third party, and what follows from it."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from course.bugs.bug import bug
from course.bugs.sessions import commit
from labkit.payment_api.keys import APP_ID
from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime.db.operations import claim, outcome_of, undo
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event
from labkit.shop.codes import Code
from labkit.shop.messages import OrderPaid
from labkit.shop.pay import flows, retries, steps
from labkit.shop.pay import statements as rows
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.messages import (
    AcceptPayment,
    Callback,
    DueQuery,
    DueRefund,
    OpenPayment,
    PaymentFound,
    TradeReport,
)
from labkit.shop.states import PaymentState
from labkit.shop.tables import pay, refund

without_signature = bug(
    "callback-without-signature",
    "Only the platform knows this address.",
    "forged-callback",
    breaks="a forged callback was answered",
    mirrors=9,
)


@without_signature.replaces("labkit.shop.pay.flows:take_callback")
async def _(shop: PayShop, command: Callback) -> Any:
    fields = dict(command.fields)
    if fields.get("app_id") != APP_ID:
        return flows._refuse(Code.PAYMENT_ERROR, "it is for another merchant")
    return await shop.run(
        steps.take_payment,
        TradeReport(
            pay_id=int(fields["out_trade_no"]),
            total_amount=int(fields["total_amount"]),
            trade_no=fields.get("trade_no"),
            trade_status=fields.get("trade_status", ""),
        ),
    )


without_amount = bug(
    "callback-without-amount",
    "It is signed, so the amount is right.",
    "wrong-amount",
    breaks="a callback with another amount was answered",
    mirrors=9,
)


@without_amount.replaces("labkit.shop.pay.steps:_contradiction")
def _(row: Any, trade: TradeReport) -> str:
    if trade.trade_status not in (
        TradeStatus.WAIT_BUYER_PAY,
        TradeStatus.TRADE_SUCCESS,
        TradeStatus.TRADE_CLOSED,
    ):
        return f"{trade.trade_status} is no state of a trade"
    if trade.trade_status == TradeStatus.TRADE_SUCCESS and not trade.trade_no:
        return "the platform says that it is paid, and names no trade"
    if trade.trade_no and row.trade_no not in (None, trade.trade_no):
        return f"the platform says trade {trade.trade_no}, and it is trade {row.trade_no}"
    return ""


without_state = bug(
    "callback-without-state",
    "The platform calls back when somebody has paid.",
    "given-up-and-left",
    breaks="platform and shop have the same money",
    mirrors=9,
)


@without_state.replaces("labkit.shop.pay.flows:take_callback")
async def _(shop: PayShop, command: Callback) -> Any:
    fields = dict(command.fields)
    if not flows.signing.verify(shop.platform_key, fields):
        return flows._refuse(Code.PAYMENT_ERROR, "the signature is not the platform's")
    if fields.get("app_id") != APP_ID:
        return flows._refuse(Code.PAYMENT_ERROR, "it is for another merchant")
    return await shop.run(
        steps.take_payment,
        TradeReport(
            pay_id=int(fields["out_trade_no"]),
            total_amount=int(fields["total_amount"]),
            trade_no=fields.get("trade_no"),
            trade_status=TradeStatus.TRADE_SUCCESS,
        ),
    )


pays_another_order = bug(
    "pays-another-order",
    "So much is to be paid in one place only: the amount says which payment it is.",
    "one-of-two",
    breaks="platform and shop have the same money",
    mirrors=9,
)


@pays_another_order.replaces("labkit.shop.pay.steps:take_payment")
def _(tx: Transaction, trade: TradeReport) -> Any:
    if trade.trade_status == TradeStatus.TRADE_SUCCESS:
        waits = (pay.c.pay_amount == trade.total_amount) & (pay.c.is_paid == PaymentState.OPEN)
        row = tx.execute(select(pay).where(waits).order_by(pay.c.pay_id)).first()
        if row and tx.expect_update(rows.mark_paid(row.pay_id, str(trade.trade_no), tx.now)):
            steps._accept_or_refund(tx, row)
    elif trade.trade_status == TradeStatus.TRADE_CLOSED:
        tx.expect_update(rows.mark_closed(trade.pay_id, tx.now))
        tx.expect_update(rows.stop_polling(trade.pay_id))
    return Result[None].ok(message=f"payment {trade.pay_id}: {trade.trade_status} is known")


told_again = bug(
    "duplicate-callback-tells-twice",
    "Setting a paid payment paid once more does no harm.",
    "told-twice:pay.take_payment.after_commit",
    breaks="paid is told once",
    mirrors=9,
)


@told_again.replaces("labkit.shop.pay.statements:mark_paid")
def _(pay_id: int, trade_no: str, now: datetime) -> Any:
    paid = {"is_paid": PaymentState.PAID, "trade_no": trade_no, "pay_time": now}
    nothing = {"open_order_id": None, "next_check": None, "last_error": None}
    return update(pay).where(pay.c.pay_id == pay_id).values(**paid, **nothing)


@told_again.replaces("labkit.shop.pay.steps:_accept_or_refund")
def _(tx: Transaction, row: Any) -> None:
    accept = AcceptPayment(order_id=row.order_id, pay_id=row.pay_id, pay_amount=row.pay_amount)
    operation = claim(tx, "accept_payment", accept)
    if operation.previous_result and not operation.previous_result.success:
        return steps._open_refund(tx, row, "the order has ended, or is paid by another payment")
    if not operation.previous_result:
        operation.apply(amount=row.pay_amount)
    return tx.emit(
        OrderPaid(
            order_id=row.order_id, user_id=row.user_id, pay_id=row.pay_id, pay_amount=row.pay_amount
        )
    )


paid_and_told_apart = bug(
    "paid-row-and-message-apart",
    "First the payment is saved, and when that is safe the others are told.",
    "paid:pay.take_payment.before_commit",
    breaks="the order says paid",
    mirrors=2,
    waits=True,
)


@paid_and_told_apart.replaces("labkit.shop.pay.steps:_accept_or_refund")
def _(tx: Transaction, row: Any) -> None:
    commit(tx)
    accept = AcceptPayment(order_id=row.order_id, pay_id=row.pay_id, pay_amount=row.pay_amount)
    operation = claim(tx, "accept_payment", accept)
    if operation.previous_result:
        return steps._open_refund(tx, row, "the order has ended, or is paid by another payment")
    operation.apply(amount=row.pay_amount)
    return tx.emit(
        OrderPaid(
            order_id=row.order_id, user_id=row.user_id, pay_id=row.pay_id, pay_amount=row.pay_amount
        )
    )


new_payment_each_time = bug(
    "a-new-payment-each-time",
    "Whoever asks for a payment gets one.",
    "seen:pay.open_payment.after_commit",
    breaks="the payment of order",
    mirrors=9,
)


@new_payment_each_time.replaces("labkit.shop.pay.steps:open_payment")
def _(tx: Transaction, command: OpenPayment) -> Any:
    ended = outcome_of(tx, "accept_payment", command.order_id)
    if ended:
        return steps._refuse_ended(command.order_id, ended)
    pay_id = tx.ids.next()
    tx.insert(
        pay,
        pay_id=pay_id,
        order_id=command.order_id,
        user_id=command.user_id,
        pay_amount=command.pay_amount,
        is_paid=PaymentState.OPEN,
        open_order_id=pay_id,
        add_time=tx.now,
        tries=0,
        next_check=tx.wall_ms + int(tx.settings.check_first * 1000),
    )
    return Result[PaymentFound].ok(steps._view(tx, tx.first(rows.find(pay_id))))


late_payment_kept = bug(
    "late-payment-is-kept",
    "A payment for an order that has ended changes nothing any more.",
    "closed-too-late:pay.take_payment.after_commit",
    breaks="a payment is accepted or goes back",
    mirrors=11,
)


@late_payment_kept.replaces("labkit.shop.pay.steps:_accept_or_refund")
def _(tx: Transaction, row: Any) -> None:
    accept = AcceptPayment(order_id=row.order_id, pay_id=row.pay_id, pay_amount=row.pay_amount)
    operation = claim(tx, "accept_payment", accept)
    if operation.previous_result:
        return None
    operation.apply(amount=row.pay_amount)
    return tx.emit(
        OrderPaid(
            order_id=row.order_id, user_id=row.user_id, pay_id=row.pay_id, pay_amount=row.pay_amount
        )
    )


refund_under_a_new_id = bug(
    "refund-under-a-new-id",
    "A try that failed is over; the next one is another request.",
    "returned:pay.refund_trade.after_call",
    breaks="refund",
    mirrors=11,
    waits=True,
)


@refund_under_a_new_id.replaces("labkit.shop.pay.retries:claim_refund")
def _(tx: Transaction, query: DueQuery) -> list[DueRefund]:
    claimed = []
    for row in tx.run(rows.lock_due_refunds(tx.wall_ms, query.limit)).rows:
        number, turn = tx.ids.next(), retries._later(tx, row.tries)
        mine = refund.c.refund_id == row.refund_id
        tx.execute(update(refund).where(mine).values(refund_id=number, next_try=turn))
        claimed.append(retries._refund(row, turn).model_copy(update={"refund_id": number}))
    return claimed


nobody_asks = bug(
    "nobody-asks-the-platform",
    "The platform calls back, again and again until we have answered.",
    "not-told:pay.open_payment.after_commit",
    breaks="the order says paid",
    mirrors=11,
    waits=True,
)


@nobody_asks.replaces("labkit.shop.pay.polling:check_payments")
async def _(_shop: PayShop, _command: None) -> None:
    """There is none."""


payment_left_open = bug(
    "payment-left-open",
    "Nobody pays for an order that was cancelled.",
    "cancelled-open:pay.stop_payment.after_commit",
    breaks="an ended order keeps no payment",
    mirrors=8,
)


@payment_left_open.replaces("labkit.shop.pay.steps:stop_payment")
def _(tx: Transaction, event: Event) -> None:
    if undo(tx, "accept_payment", event.order_id) is not None:
        standing = tx.run(rows.find_accepted(event.order_id)).single()
        steps._open_refund(tx, standing, "the order has ended")
