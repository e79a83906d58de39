"""Items in flight and stuck items: a lab has settled when nothing will change by itself."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from sqlalchemy import ColumnElement, func, select

from labkit.ops import payments_in_flight
from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms_of
from labkit.runtime.db import tables as rt
from labkit.runtime.registry.ids import first_of
from labkit.shop import tables as t
from labkit.shop.states import OrderStatus
from labkit.waiting import poll_until

_Where: TypeAlias = ColumnElement[bool]

_POLL_SECONDS = 0.05
_LATE_AFTER_MS = 2000
_MAX_AHEAD_MS = 600_000  # no retry waits so long: whoever wrote it had a wrong clock
_UNDECIDED = "order not decided"
#: Box → status of an event's row → its description, and the kind of the item.
_DESCRIPTIONS = {
    "inbox": {rt.WAITING: ("waits", "unhandled"), rt.DEAD: ("is dead", "dead_in")},
    "outbox": {
        rt.UNSENT: ("is not sent", "unsent"),
        rt.SENT: ("is not settled", "unsettled"),
        rt.GIVEN_UP: ("is given up", "dead_out"),
    },
}
_BOXES = {"inbox": rt.inbox, "outbox": rt.outbox}
#: Box → the statuses in which an event is in flight, and the one in which nobody tries it.
_OPEN = {"inbox": (rt.WAITING,), "outbox": (rt.UNSENT, rt.SENT)}
_DEAD = {"inbox": rt.DEAD, "outbox": rt.GIVEN_UP}
_EVENT_COLUMNS = ("event_id", "topic", "msg_key", "status", "last_error", "tries", "next_try")


def in_flight(reader: Reader) -> list[PendingItem]:
    """List all that is in flight: undecided orders, payments, unsettled and waiting events.

    A cause is read before its effect, so that nothing is missed while it is handed on: an order
    before its message, that before the payment that it ends, that before the next message, and
    that before the inboxes.
    """
    return list(_in_flight(reader))


def _in_flight(reader: Reader) -> Iterator[PendingItem]:
    yield from _undecided(reader, t.order.c.order_status == OrderStatus.UNCONFIRMED)
    services = [service for service in t.TABLES if service != "pay"]
    for service in services:
        yield from _events(reader, service, "outbox", _is_open("outbox"))
    yield from _events(reader, "pay", "inbox", _is_open("inbox"))
    yield from payments_in_flight.in_flight(reader)
    yield from _events(reader, "pay", "outbox", _is_open("outbox"))
    for service in services:
        yield from _events(reader, service, "inbox", _is_open("inbox"))


def stuck(reader: Reader) -> list[PendingItem]:
    """List all items that have an error, are late or far too early, or are dead."""
    return [item for service in t.TABLES for item in stuck_in(reader, service)]


def stuck_in(reader: Reader, service: str) -> list[PendingItem]:
    """List the stuck items of one service, from its database; for `pay` from the platform's too."""
    now_ms = wall_ms_of(reader.home)
    late, ahead = now_ms - _LATE_AFTER_MS, now_ms + _MAX_AHEAD_MS
    items: list[PendingItem] = []
    if service == "order":
        order_id = t.order.c.order_id
        is_odd = (order_id < first_of(late)) | (order_id > first_of(ahead))
        items = _undecided(reader, (t.order.c.order_status == OrderStatus.UNCONFIRMED) & is_odd)
    if service == "pay":
        items = [
            item
            for item in payments_in_flight.in_flight(reader)
            if item["cause"] or not late <= (item["next_try"] or 0) <= ahead
        ]
        items += payments_in_flight.given_up(reader)
    for box, table in _BOXES.items():
        next_try = table.c.next_try
        is_odd = table.c.last_error.is_not(None) | (next_try < late) | (next_try > ahead)
        items += _events(reader, service, box, _is_open(box) & is_odd)
        items += _events(reader, service, box, table.c.status == _DEAD[box])
    return items


def count(reader: Reader, service: str) -> Iterator[tuple[str, int]]:
    """Count what is in flight in one service: `orders`, `payments` and `messages`."""
    if service == "order":
        yield "orders", _count(reader, service, t.order.c.order_status == OrderStatus.UNCONFIRMED)
    if service == "pay":
        yield "payments", _count(reader, service, t.pay.c.open_order_id.is_not(None))
    for box in _BOXES:
        yield "messages", _count(reader, service, _is_open(box))


def settle(
    reader: Reader, timeout: float, on_progress: Callable[[int], None] | None = None
) -> list[PendingItem]:
    """Wait until nothing is in flight.

    Args:
        reader: of the lab's databases.
        timeout: seconds.
        on_progress: called with the number of items that are in flight still.

    Returns:
        The items that are in flight at the timeout; empty where all has settled.
    """

    def is_settled() -> bool:
        if not any(_in_flight(reader)):  # the first item is enough, and quick to find
            return True
        if on_progress:
            on_progress(len(in_flight(reader)))
        return False

    return [] if poll_until(is_settled, timeout, _POLL_SECONDS) else in_flight(reader)


def _undecided(reader: Reader, where: _Where) -> list[PendingItem]:
    return [
        {
            "id": f"order.order.{row['order_id']}",
            "what": _UNDECIDED,
            "order": row["order_id"],
            "cause": None,
            "tries": 0,
            "next_try": None,
            "kind": "undecided",
        }
        for row in reader.query("order", select(t.order.c.order_id).where(where))
    ]


def _is_open(box: str) -> _Where:
    return _BOXES[box].c.status.in_(_OPEN[box])


def _count(reader: Reader, service: str, where: _Where) -> int:
    rows = reader.query(service, select(func.count().label("number")).where(where))
    return int(rows[0]["number"])


def _events(reader: Reader, service: str, box: str, where: _Where) -> list[PendingItem]:
    table = _BOXES[box]
    columns = [table.c[name] for name in _EVENT_COLUMNS]
    prefix = "outbox." if box == "outbox" else ""
    items: list[PendingItem] = []
    for row in reader.query(service, select(*columns).where(where)):
        description, kind = _DESCRIPTIONS[box][row["status"]]
        items.append(
            {
                "id": f"{service}.{prefix}{row['event_id']}",
                "what": f"{row['topic']} {description} in the {box} of {service}",
                "order": int(row["msg_key"]) if row["msg_key"].isdecimal() else None,
                "cause": row["last_error"],
                "tries": row["tries"],
                "kind": kind,
                "next_try": None if row["status"] == _DEAD[box] else row["next_try"],
                "topic": row["topic"],
            }
        )
    return items
