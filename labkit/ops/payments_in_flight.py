"""Payments in flight: the payment platform has done something that the shop has not, or reverse."""

from datetime import datetime

from sqlalchemy import or_, select

from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import Reader, Row, Rows
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.tables import SERVICE, notice, trade
from labkit.shop.states import PaymentState, RefundState
from labkit.shop.tables import pay, refund

#: kind → its description.
_DESCRIPTIONS = {
    "paid_there": "paid at the platform, not known here",
    "not_closed": "closed here, not known to be closed at the platform",
    "not_asked": "not paid, and nobody asks the platform about it",
    "not_refunded": "refund not answered",
    "dead_payment": "payment given up",
    "dead_refund": "refund given up",
}
_UNPAID = pay.c.is_paid != PaymentState.PAID
_GIVEN_UP = _UNPAID & pay.c.next_check.is_(None) & pay.c.last_error.is_not(None)


def in_flight(reader: Reader) -> list[PendingItem]:
    """List the payments and refunds about which platform and shop do not agree yet."""
    unpaid = _unpaid(reader)
    states = _trade_states(reader, [row["pay_id"] for row in unpaid])
    closed = TradeStatus.TRADE_CLOSED
    kinds = [(row, _kind(row, states.get(row["pay_id"], closed))) for row in unpaid]
    items = [_payment(row, kind) for row, kind in kinds if kind]
    refunds = reader.query("pay", select(refund).where(refund.c.state == RefundState.OPEN))
    return items + [_item(row, "refund_id", "not_refunded", row["next_try"]) for row in refunds]


def _unpaid(reader: Reader) -> Rows:
    """Read the unpaid payments that may change yet: those that are over grow ever more.

    The shop asks about them; or their trade can be paid; or its notice is not answered yet.
    """
    is_asked_about = or_(pay.c.open_order_id > 0, pay.c.next_check > 0)  # by their indexes
    unpaid = select(pay).where(_UNPAID, ~_GIVEN_UP)
    rows = reader.query("pay", unpaid.where(is_asked_about))
    payable = select(trade.c.out_trade_no).where(trade.c.trade_status == TradeStatus.WAIT_BUYER_PAY)
    unanswered = select(notice.c.out_trade_no).where(notice.c.answer_time.is_(None))
    ids = {row["out_trade_no"] for row in reader.query(SERVICE, payable.union(unanswered))}
    ids -= {row["pay_id"] for row in rows}
    return rows + reader.select_in("pay", unpaid, pay.c.pay_id, ids)


def _trade_states(reader: Reader, ids: list[int]) -> dict[int, str]:
    """Map each of these payments whose trade is not closed to the trade's state."""
    columns = (trade.c.out_trade_no, trade.c.trade_status)
    query = select(*columns).where(trade.c.trade_status != TradeStatus.TRADE_CLOSED)
    rows = reader.select_in(SERVICE, query, trade.c.out_trade_no, ids)
    return {row["out_trade_no"]: row["trade_status"] for row in rows}


def _kind(row: Row, state: str) -> str:
    """Return the kind of an unpaid payment's item; empty where nothing is in flight."""
    if state == TradeStatus.TRADE_SUCCESS:
        return "paid_there"
    if row["next_check"] is None:
        may_be_paid = row["is_paid"] == PaymentState.OPEN or state == TradeStatus.WAIT_BUYER_PAY
        return "not_asked" if may_be_paid else ""
    return "not_closed" if row["is_paid"] == PaymentState.CLOSED else ""


def given_up(reader: Reader) -> list[PendingItem]:
    """List the payments and refunds that a person gave up: nobody asks the platform about them."""
    payments = reader.query("pay", select(pay).where(_GIVEN_UP))
    refunds = reader.query("pay", select(refund).where(refund.c.state == RefundState.GIVEN_UP))
    return [_payment(row, "dead_payment") for row in payments] + [
        _item(row, "refund_id", "dead_refund", None) for row in refunds
    ]


def is_notifying(reader: Reader, now: datetime) -> bool:
    """Return True if the platform has a notice to send, or has not noted its answer yet."""
    due = select(notice.c.notify_id).where(notice.c.next_try <= now).limit(1)
    return bool(reader.query(SERVICE, due))


def find_payment(reader: Reader, number: int) -> int | None:
    """Find the payment of a number, which is its own id or its refund's; None if there is none."""
    own = select(pay.c.pay_id).where(pay.c.pay_id == number)
    refunds = select(refund.c.pay_id).where(refund.c.refund_id == number)
    return next((row["pay_id"] for row in reader.query("pay", own.union(refunds))), None)


def _payment(row: Row, kind: str) -> PendingItem:
    return _item(row, "pay_id", kind, row["next_check"])


def _item(row: Row, key: str, kind: str, next_try: int | None) -> PendingItem:
    return {
        "id": f"pay.{row[key]}",
        "what": _DESCRIPTIONS[kind],
        "order": row["order_id"],
        "kind": kind,
        "cause": row["last_error"],
        "tries": row["tries"],
        "next_try": next_try,
    }
