"""The invariants that span databases, as functions over a reader.

Who writes first is read last: an order is saved before anything is taken for it, so what was taken
is read first; an order is confirmed after all was taken, so orders are read first.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from labkit.lab.data import Reader
from labkit.runtime import tables as rt
from labkit.runtime.clock import wall_ms
from labkit.runtime.ids import first_of
from labkit.shop import tables as t

_LATE_MS = 15_000
_FORWARD = {"goods": "deduct_stock", "coupon": "use_coupon", "user": "deduct_balance"}
#: What bears an order's id and says whose it is, or which goods.
_MOVED = (
    ("goods", t.number_log, "goods_id"),
    ("coupon", t.coupon, "user_id"),
    ("user", t.money_log, "user_id"),
    ("user", t.score_log, "user_id"),
    ("pay", t.pay, "user_id"),
    ("pay", t.refund, "user_id"),
    ("log", t.pay_log, "user_id"),
)


@dataclass
class Finding:
    """How many rows were looked at, and what breaks the invariant."""

    looked_at: int
    broken: list[str] = field(default_factory=list)


def every_order_is_decided(reader: Reader) -> Finding:
    """No order is unconfirmed long after its deadline."""
    orders = reader.query("order", select(t.order.c.order_id, t.order.c.order_status))
    late = first_of(wall_ms() - _LATE_MS)
    hanging = [row["order_id"] for row in orders
               if row["order_status"] == t.UNCONFIRMED and row["order_id"] < late]  # fmt: skip
    return Finding(len(orders), [f"order {order_id} is not decided" for order_id in hanging])


def confirmed_orders_are_covered(reader: Reader) -> Finding:
    """A confirmed order has its stock, coupon and balance, as it asked for them."""
    orders = reader.query("order", select(t.order).where(t.order.c.order_status == t.CONFIRMED))
    taken = {service: _amounts(reader, service) for service in _FORWARD}
    finding = Finding(len(orders))
    for row in orders:
        wanted = {"goods": row["goods_number"], "coupon": row["coupon_paid"] or None,
                  "user": row["money_paid"] or None}  # fmt: skip
        for service, amount in wanted.items():
            has = taken[service].get(row["order_id"])
            if has != amount:
                text = f"order {row['order_id']}: {service} took {has}, the order says {amount}"
                finding.broken.append(text)
    return finding


def cancelled_orders_hold_nothing(reader: Reader) -> Finding:
    """A cancelled or returned order whose message went round has nothing applied."""
    ended = t.order.c.order_status.in_((t.CANCELLED, t.RETURNED))
    orders = {row["order_id"] for row in reader.query("order", select(t.order).where(ended))}
    orders -= told_and_not_heard(reader)
    finding = Finding(len(orders))
    for service in _FORWARD:
        for order_id in orders & _amounts(reader, service).keys():
            finding.broken.append(f"order {order_id}: {service} still holds what it took")
    return finding


def nothing_without_an_order(reader: Reader) -> Finding:
    """Every operation and every log row is of an order that exists."""
    taken = [row["order_id"] for service, name in _FORWARD.items()
             for row in reader.query(service, select(rt.operation.c.order_id).where(
                 rt.operation.c.operation == name))]  # fmt: skip
    for service, log in (("goods", t.number_log), ("user", t.money_log), ("user", t.score_log)):
        mine = select(log.c.order_id).where(log.c.order_id != 0)
        taken += [row["order_id"] for row in reader.query(service, mine)]
    taken += [row["order_id"] for row in reader.query("pay", select(t.pay.c.order_id))]
    known = {row["order_id"] for row in reader.query("order", select(t.order.c.order_id))}
    lost = sorted(set(taken) - known)
    return Finding(len(taken), [f"order {order_id} does not exist" for order_id in lost])


def coupons_keep_their_owners(reader: Reader) -> Finding:
    """A coupon is still of the user for whose order it was used, also where it came back."""
    used = t.order.c.coupon_id.is_not(None)
    orders = reader.query("order", select(t.order.c.coupon_id, t.order.c.user_id).where(used))
    rows = reader.query("coupon", select(t.coupon.c.coupon_id, t.coupon.c.user_id))
    owner = {row["coupon_id"]: row["user_id"] for row in rows}
    lost = sorted({(row["coupon_id"], row["user_id"]) for row in orders
                   if owner.get(row["coupon_id"]) != row["user_id"]})  # fmt: skip
    return Finding(len(orders), [
        f"coupon {coupon_id} is of user {owner.get(coupon_id)}, and was user {user_id}'s"
        for coupon_id, user_id in lost
    ])  # fmt: skip


def settled_events_arrived(reader: Reader) -> Finding:
    """Every group of a settled event has an inbox row for it."""
    finding = Finding(0)
    settled = [row for service in t.TABLES for row in reader.query(
        service, select(rt.outbox).where(rt.outbox.c.status == rt.SETTLED))]  # fmt: skip
    arrived = _arrived(reader)
    for row in settled:
        for group in filter(None, row["groups"].split(",")):
            finding.looked_at += 1
            if (group, row["event_id"]) not in arrived:
                finding.broken.append(f"event {row['event_id']} is settled and not in {group}")
    return finding


def events_come_from_an_outbox(reader: Reader) -> Finding:
    """Every event in an inbox stands in some outbox."""
    arrived = _arrived(reader)
    sent = {row["event_id"] for service in t.TABLES
            for row in reader.query(service, select(rt.outbox.c.event_id))}  # fmt: skip
    foreign = [event_id for _, event_id in arrived if event_id not in sent]
    return Finding(len(arrived), [f"event {event_id} was never sent" for event_id in foreign])


def messages_arrive_as_told(reader: Reader) -> Finding:
    """The inbox row of an event says what its outbox row says."""
    finding = Finding(0)
    arrived = [(service, row) for service in t.TABLES
               for row in reader.query(service, select(rt.inbox))]  # fmt: skip
    told = {row["event_id"]: _content(row) for service in t.TABLES
            for row in reader.query(service, select(rt.outbox))}  # fmt: skip
    for service, row in arrived:
        finding.looked_at += 1
        if told.get(row["event_id"], _content(row)) != _content(row):
            text = f"event {row['event_id']} is another one in the inbox of {service}"
            finding.broken.append(text)
    return finding


def orders_move_what_is_theirs(reader: Reader) -> Finding:
    """What was moved for an order belongs to its user; the goods are those it names."""
    moved = [(row["order_id"], service, column, row[column])
             for service, table, column in _MOVED
             for row in reader.query(service, select(table.c.order_id, table.c[column]).where(
                 table.c.order_id > 0))]  # fmt: skip
    orders = {row["order_id"]: row for row in reader.query("order", select(
        t.order.c.order_id, t.order.c.user_id, t.order.c.goods_id))}  # fmt: skip
    wrong = [f"order {order_id}: {service} has {column} {number}"
             for order_id, service, column, number in moved
             if order_id in orders and orders[order_id][column] != number]  # fmt: skip
    return Finding(len(moved), wrong)


def _content(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["topic"], row["tag"], row["msg_key"], row["body"])


def _amounts(reader: Reader, service: str) -> dict[int, int]:
    """order → the amount that a service took for it and still holds."""
    table = rt.operation
    mine = (table.c.operation == _FORWARD[service]) & (table.c.outcome == "applied")
    rows = reader.query(service, select(table.c.order_id, table.c.amount).where(mine))
    return {row["order_id"]: row["amount"] for row in rows}


def told_and_not_heard(reader: Reader) -> set[Any]:
    """Orders with a message that is still on its way, so that nothing can be said of them yet."""
    waiting = [(service, rt.inbox, rt.inbox.c.status == rt.WAITING) for service in t.TABLES]
    unsettled = [(service, rt.outbox, rt.outbox.c.status.in_((rt.UNSENT, rt.SENT)))
                 for service in ("order", "pay")]  # fmt: skip
    return {int(row["msg_key"]) for service, table, which in (*unsettled, *waiting)
            for row in reader.query(service, select(table.c.msg_key).where(which))
            if row["msg_key"].isdecimal()}  # fmt: skip


def _arrived(reader: Reader) -> set[tuple[str, int]]:
    known = select(rt.inbox.c.group_name, rt.inbox.c.event_id)
    return {(row["group_name"], row["event_id"])
            for service in t.TABLES for row in reader.query(service, known)}  # fmt: skip
