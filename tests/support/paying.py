"""Payments as the unit tests open them: commands, and the states that a payment can be in."""

from collections.abc import Mapping
from typing import Any

from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.shop import messages as m
from labkit.shop.pay import messages as p
from labkit.shop.pay import steps
from tests.support.store import Row, Store

ORDER, USER, AMOUNT, TRADE = 1001, 1, 12_34, "2026000000000001"


def opened(store: Store, order_id: int = ORDER, amount: int = AMOUNT) -> int:
    """The id of an order's open payment."""
    command = p.OpenPayment(order_id=order_id, user_id=USER, pay_amount=amount)
    pay_id: int = store.run(steps.open_payment, command).data.pay_id
    return pay_id


def seen(pay_id: int, status: str = TradeStatus.TRADE_SUCCESS, **changed: Any) -> p.TradeReport:
    """Return what the platform says of a payment."""
    fields: dict[str, Any] = {"trade_no": TRADE, "trade_status": status, "total_amount": AMOUNT}
    return p.TradeReport(pay_id=pay_id, **fields | changed)


def take(
    store: Store, pay_id: int, status: str = TradeStatus.TRADE_SUCCESS, **changed: Any
) -> Result[None]:
    """Let the pay service hear what the platform says."""
    answer: Result[None] = store.run(steps.take_payment, seen(pay_id, status, **changed))
    return answer


def paid(store: Store, order_id: int = ORDER) -> int:
    """The id of a payment that pays for its order."""
    pay_id = opened(store, order_id)
    assert take(store, pay_id).success
    return pay_id


def end(store: Store, order_id: int = ORDER, event: type[m.Event] = m.OrderCancelled) -> None:
    """The message that the order was cancelled, or returned."""
    store.run(steps.stop_payment, event(order_id=order_id))


def refunding(store: Store, order_id: int = ORDER) -> Mapping[str, Any]:
    """The open refund of a payment whose order was cancelled after it was paid."""
    pay_id = paid(store, order_id)
    end(store, order_id)
    return store.row("trade_refund", pay_id=pay_id)


def answered(refund: Mapping[str, Any]) -> p.TradeRefunded:
    """The platform's answer to a refund."""
    names = ("pay_id", "refund_id", "amount")
    return p.TradeRefunded(**{name: refund[name] for name in names})


def payment(store: Store, pay_id: int) -> Row:
    """Return a payment's row."""
    return store.row("trade_pay", pay_id=pay_id)


def accepted(store: Store, order_id: int = ORDER) -> str:
    """Return the outcome of the operation that lets a payment pay for its order."""
    return store.outcome("accept_payment", order_id)[0]
