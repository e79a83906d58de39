"""The invariants of paying that span databases, as functions over a reader.

They cover what is decided: orders about which no message is on its way, payments that wait neither
for the platform nor for a refund. What is on its way is read first, and again after all the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from labkit.lab import money
from labkit.lab.crossings import Finding, told_and_not_heard
from labkit.lab.data import Reader
from labkit.platform import tables as there
from labkit.platform.wiring import PLATFORM
from labkit.shop import tables as t
from labkit.shop.paylog import CAME

_CENTS_A_POINT = 100
_SIGN = {t.MONEY_PAID: 1, t.MONEY_REFUNDED: -1}


@dataclass(frozen=True)
class _Payments:
    """Payments of which all is decided.

    Attributes:
        standing: payment → row, where it is paid and does not go back.
        open: those that their user may still pay.
        paid: how many were paid, whatever came of them.
        undecided: orders and payments of which something is on its way.
    """

    standing: Mapping[int, dict[str, Any]]
    open: list[dict[str, Any]]
    paid: int
    undecided: set[int]

    def of_orders(self) -> Mapping[int, list[dict[str, Any]]]:
        found = defaultdict(list)
        for row in self.standing.values():
            found[row["order_id"]].append(row)
        return found


def orders_say_what_is_paid(reader: Reader) -> Finding:
    """A confirmed order says paid if and only if a payment stands."""
    orders = reader.query("order", select(t.order).where(t.order.c.order_status == t.CONFIRMED))
    payments = _payments(reader)
    standing = payments.of_orders()
    finding = Finding(len(orders))
    for row in orders:
        cents = sum(one["pay_amount"] for one in standing[row["order_id"]])
        due = row["pay_amount"]
        should = t.PAID if cents == due else t.UNPAID
        if row["order_id"] not in payments.undecided and (
            row["pay_status"] != should or cents not in (0, due)
        ):
            text = f"order {row['order_id']}: pay_status {row['pay_status']}, {cents} of {due} paid"
            finding.broken.append(text)
    return finding


def ended_orders_keep_no_payment(reader: Reader) -> Finding:
    """No payment stands, or is open, of an order that was cancelled or returned."""
    ended = t.order.c.order_status.in_((t.CANCELLED, t.RETURNED))
    orders = {row["order_id"] for row in reader.query("order", select(t.order.c.order_id).where(
        ended))}  # fmt: skip
    payments = _payments(reader)
    still = [("stands", row) for row in payments.standing.values()]
    still += [("is open", row) for row in payments.open]
    return Finding(len(orders), [
        f"order {row['order_id']} has ended, and payment {row['pay_id']} {state}"
        for state, row in still if row["order_id"] in orders - payments.undecided
    ])  # fmt: skip


def points_match_payments(reader: Reader) -> Finding:
    """The points that an order brought are those of its payment."""
    payments = _payments(reader)
    log = select(t.score_log).where(t.score_log.c.order_id != 0)
    has = Counter[int]()
    for row in reader.query("user", log):
        has[row["order_id"]] += _SIGN[row["score_log_type"]] * row["use_score"]
    should = Counter({order_id: sum(row["pay_amount"] // _CENTS_A_POINT for row in rows)
                      for order_id, rows in payments.of_orders().items()})  # fmt: skip
    broken = _differences(should, has, payments.undecided, "order", "points")
    return Finding(payments.paid, list(broken))


def log_matches_payments(reader: Reader) -> Finding:
    """What the payment log says of a payment is what the pay service says of it."""
    payments = _payments(reader)
    has = Counter[int]()
    for row in reader.query("log", select(t.pay_log)):
        has[row["pay_id"]] += row["amount"] if row["direction"] == CAME else -row["amount"]
    should = Counter({pay_id: row["pay_amount"] for pay_id, row in payments.standing.items()})
    broken = _differences(should, has, payments.undecided, "payment", "cents in the log")
    return Finding(payments.paid, list(broken))


def platform_and_shop_agree(reader: Reader) -> Finding:
    """Success less refunds there, paid less refunded here: the same for each payment."""
    payments = _payments(reader)
    trades = reader.query(PLATFORM.name, select(there.trade))
    refunds = reader.query(PLATFORM.name, select(there.refund))
    has = Counter[int]()
    for row in trades:
        came = row["total_amount"] if row["trade_status"] == there.TRADE_SUCCESS else 0
        has[row["out_trade_no"]] += came
    for row in refunds:
        has[row["out_trade_no"]] -= row["amount"]
    should = Counter({pay_id: row["pay_amount"] for pay_id, row in payments.standing.items()})
    broken = _differences(should, has, payments.undecided, "payment", "cents at the platform")
    return Finding(len(trades), list(broken))


def what_may_be_paid_is_asked_about(reader: Reader) -> Finding:
    """Each trade that is or may still be paid is known as paid here, asked about or given up."""
    live = there.trade.c.trade_status != there.TRADE_CLOSED
    ids = {row["out_trade_no"] for row in reader.query(
        PLATFORM.name, select(there.trade.c.out_trade_no).where(live))}  # fmt: skip
    known = {row["pay_id"] for row in reader.among(
        "pay", select(t.pay.c.pay_id), t.pay.c.pay_id, ids)}  # fmt: skip
    broken = [f"trade {number}: there is no such payment" for number in sorted(ids - known)]
    broken += [
        f"payment {one['id'].partition('.')[2]} of order {one['order']}: {one['what']}"
        for one in money.in_flight(reader)
        if one["kind"] in ("paid_there", "not_asked") and one["next_try"] is None
    ]
    return Finding(len(ids), broken)


def _differences(
    should: Counter[int], has: Counter[int], undecided: set[int], what: str, unit: str
) -> Iterator[str]:
    for number in sorted({*should, *has} - undecided):
        if should[number] != has[number]:
            yield f"{what} {number}: {has[number]} {unit}, should be {should[number]}"


def _payments(reader: Reader) -> _Payments:
    """Read what is on its way, the payments, and what is on its way again."""
    undecided = _on_its_way(reader)
    refunds = {row["pay_id"] for row in reader.query("pay", select(t.refund.c.pay_id))}
    rows = reader.query("pay", select(t.pay).where(t.pay.c.is_paid != t.PAY_CLOSED))
    paid = [row for row in rows if row["is_paid"] == t.PAY_PAID]
    still_open = [row for row in rows if row["is_paid"] == t.PAY_OPEN]
    undecided |= _on_its_way(reader)
    for row in paid:
        if row["order_id"] in undecided:
            undecided.add(row["pay_id"])
    standing = {row["pay_id"]: row for row in paid if row["pay_id"] not in refunds}
    return _Payments(standing, still_open, len(paid), undecided)


def _on_its_way(reader: Reader) -> set[int]:
    """Orders and payments of which nothing can be said yet, because somebody looks after them."""
    flying = [one for one in money.in_flight(reader) if one["next_try"] is not None]
    numbers = {int(one["id"].partition(".")[2]) for one in flying}
    return told_and_not_heard(reader) | numbers | {one["order"] for one in flying}
