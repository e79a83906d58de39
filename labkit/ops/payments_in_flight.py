"""Money that is on its way: what the payment platform has done and the shop not, or the reverse."""

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from labkit.ops.reader import Reader
from labkit.payment_platform.tables import (
    SERVICE,
    TRADE_CLOSED,
    TRADE_SUCCESS,
    WAIT_BUYER_PAY,
    notice,
    trade,
)
from labkit.shop.tables import (
    PAY_CLOSED,
    PAY_OPEN,
    PAY_PAID,
    REFUND_GIVEN_UP,
    REFUND_OPEN,
    pay,
    refund,
)

#: kind → what it is, in words.
_WORDS = {
    "paid_there": "paid at the platform, not known here",
    "not_closed": "closed here, not known to be closed at the platform",
    "not_asked": "not paid, and nobody asks the platform about it",
    "not_refunded": "refund not answered",
    "dead_payment": "payment given up",
    "dead_refund": "refund given up",
}
_UNPAID = pay.c.is_paid != PAY_PAID
_GIVEN_UP = _UNPAID & pay.c.next_check.is_(None) & pay.c.last_error.is_not(None)


def in_flight(reader: Reader) -> list[dict[str, Any]]:
    """Payments and refunds about which platform and shop do not agree yet."""
    unpaid = _unpaid(reader)
    states = _states_there(reader, [row["pay_id"] for row in unpaid])
    kinds = [(row, _kind(row, states.get(row["pay_id"], TRADE_CLOSED))) for row in unpaid]
    found = [_payment(row, kind) for row, kind in kinds if kind]
    waiting = reader.query("pay", select(refund).where(refund.c.state == REFUND_OPEN))
    return found + [_one(row, "refund_id", "not_refunded", row["next_try"]) for row in waiting]


def _unpaid(reader: Reader) -> list[dict[str, Any]]:
    """Read the unpaid payments that may change yet: of those that are over there are ever more.

    The shop asks about them; or their trade can be paid, or the platform still tells how it ended.
    """
    asked = or_(pay.c.open_order_id > 0, pay.c.next_check > 0)  # by their indexes
    unpaid = select(pay).where(_UNPAID, ~_GIVEN_UP)
    found = reader.query("pay", unpaid.where(asked))
    payable = select(trade.c.out_trade_no).where(trade.c.trade_status == WAIT_BUYER_PAY)
    untold = select(notice.c.out_trade_no).where(notice.c.answer_time.is_(None))
    ids = {row["out_trade_no"] for row in reader.query(SERVICE, payable.union(untold))}
    known = {row["pay_id"] for row in found}
    return found + reader.among("pay", unpaid, pay.c.pay_id, ids - known)


def _states_there(reader: Reader, ids: list[int]) -> dict[int, str]:
    """The states of those trades of some payments that are not closed."""
    columns = (trade.c.out_trade_no, trade.c.trade_status)
    query = select(*columns).where(trade.c.trade_status != TRADE_CLOSED)
    rows = reader.among(SERVICE, query, trade.c.out_trade_no, ids)
    return {row["out_trade_no"]: row["trade_status"] for row in rows}


def _kind(row: dict[str, Any], state: str) -> str:
    """What is on its way of an unpaid payment; empty where nothing is."""
    if state == TRADE_SUCCESS:
        return "paid_there"
    if row["next_check"] is None:
        may_be_paid = row["is_paid"] == PAY_OPEN or state == WAIT_BUYER_PAY
        return "not_asked" if may_be_paid else ""
    return "not_closed" if row["is_paid"] == PAY_CLOSED else ""


def dead(reader: Reader) -> list[dict[str, Any]]:
    """Payments and refunds that a person gave up: nobody asks the platform about them."""
    payments = reader.query("pay", select(pay).where(_GIVEN_UP))
    refunds = reader.query("pay", select(refund).where(refund.c.state == REFUND_GIVEN_UP))
    return [_payment(row, "dead_payment") for row in payments] + [
        _one(row, "refund_id", "dead_refund", None) for row in refunds
    ]


def telling(reader: Reader, now: datetime) -> bool:
    """Whether the platform is sending a notice, or has not noted yet that it was answered."""
    due = select(notice.c.notify_id).where(notice.c.next_try <= now).limit(1)
    return bool(reader.query(SERVICE, due))


def payment_of(reader: Reader, number: int) -> int | None:
    """The payment that a number names, its own or its refund's; None where it names none."""
    own = select(pay.c.pay_id).where(pay.c.pay_id == number)
    refunds = select(refund.c.pay_id).where(refund.c.refund_id == number)
    return next((row["pay_id"] for row in reader.query("pay", own.union(refunds))), None)


def _payment(row: dict[str, Any], kind: str) -> dict[str, Any]:
    return _one(row, "pay_id", kind, row["next_check"])


def _one(row: dict[str, Any], key: str, kind: str, next_try: int | None) -> dict[str, Any]:
    return {
        "id": f"pay.{row[key]}",
        "what": _WORDS[kind],
        "order": row["order_id"],
        "kind": kind,
        "cause": row["last_error"],
        "tries": row["tries"],
        "next_try": next_try,
    }
