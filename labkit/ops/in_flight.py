"""What is in flight, and what is stuck: settled means that nothing will change by itself."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Column, func, select

from labkit.ops import payments_in_flight
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms_of
from labkit.runtime.db import tables as rt
from labkit.runtime.registry.ids import first_of
from labkit.shop import tables as t

_POLL_SECONDS = 0.05
_ODD_AFTER_MS = 2000
_ODD_AHEAD_MS = 600_000  # nothing waits so long by itself: who wrote that had a wrong clock
_UNDECIDED = "order not decided"
#: Of an event: what its row says in its box, and which kind of stuck thing that is.
_WORDS = {
    "inbox": {rt.WAITING: ("waits", "unhandled"), rt.DEAD: ("is dead", "dead_in")},
    "outbox": {
        rt.UNSENT: ("is not sent", "unsent"),
        rt.SENT: ("is not settled", "unsettled"),
        rt.GIVEN_UP: ("is given up", "dead_out"),
    },
}
_BOXES = {"inbox": rt.inbox, "outbox": rt.outbox}
#: box → the states in which an event is on its way, and the one in which nobody tries it.
_OPEN = {"inbox": (rt.WAITING,), "outbox": (rt.UNSENT, rt.SENT)}
_DEAD = {"inbox": rt.DEAD, "outbox": rt.GIVEN_UP}


def in_flight(reader: Reader) -> list[dict[str, Any]]:
    """Everything that is still on its way: undecided orders, money, unsettled and waiting events.

    What sets something off is read before it, so that nothing is missed while it is handed on: an
    order its message, that a payment's end, that the next message, and that who hears it.
    """
    return list(_on_its_way(reader))


def _on_its_way(reader: Reader) -> Iterator[dict[str, Any]]:
    """The same, read as far as it is asked for."""
    yield from _undecided(reader, t.order.c.order_status == t.UNCONFIRMED)
    others = [service for service in t.TABLES if service != "pay"]
    for service in others:
        yield from _events(reader, service, "outbox", _is_open("outbox"))
    yield from _events(reader, "pay", "inbox", _is_open("inbox"))
    yield from payments_in_flight.in_flight(reader)
    yield from _events(reader, "pay", "outbox", _is_open("outbox"))
    for service in others:
        yield from _events(reader, service, "inbox", _is_open("inbox"))


def stuck(reader: Reader) -> list[dict[str, Any]]:
    """What waits or failed: whatever has an error, is late or much too early, or is dead."""
    return [one for service in t.TABLES for one in stuck_in(reader, service)]


def stuck_in(reader: Reader, service: str) -> list[dict[str, Any]]:
    """The same for one service, by its own database; for `pay` also by the platform's.

    Each has `id`, `what`, `order`, `cause`, `tries`, `next_try` (wall-clock ms; None: nobody tries
    it) and `kind` (of a dead letter it begins with `dead`), and an event its `topic`.
    """
    now_ms = wall_ms_of(reader.home)
    late, ahead = now_ms - _ODD_AFTER_MS, now_ms + _ODD_AHEAD_MS
    found = []
    if service == "order":
        order_id = t.order.c.order_id
        odd = (order_id < first_of(late)) | (order_id > first_of(ahead))
        found = _undecided(reader, (t.order.c.order_status == t.UNCONFIRMED) & odd)
    if service == "pay":
        found = [
            one
            for one in payments_in_flight.in_flight(reader)
            if one["cause"] or not late <= (one["next_try"] or 0) <= ahead
        ]
        found += payments_in_flight.dead(reader)
    for box, table in _BOXES.items():
        next_try = table.c.next_try
        odd = table.c.last_error.is_not(None) | (next_try < late) | (next_try > ahead)
        found += _events(reader, service, box, _is_open(box) & odd)
        found += _events(reader, service, box, table.c.status == _DEAD[box])
    return found


def count(reader: Reader, service: str) -> Iterator[tuple[str, int]]:
    """How much is on its way in one service: `orders`, `payments` and `messages`."""
    if service == "order":
        yield "orders", _count(reader, service, t.order.c.order_status == t.UNCONFIRMED)
    if service == "pay":
        yield "payments", _count(reader, service, t.pay.c.open_order_id.is_not(None))
    for box in _BOXES:
        yield "messages", _count(reader, service, _is_open(box))


def settle(
    reader: Reader, timeout: float, progress: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Wait until nothing is in flight.

    Args:
        reader: of the lab's databases.
        timeout: seconds.
        progress: told at each look how many things are still in flight.

    Returns:
        What still is in flight; empty where all has settled.
    """
    deadline = time.monotonic() + timeout
    while any(_on_its_way(reader)):  # the first that is found will do
        if progress:
            progress(len(in_flight(reader)))
        if time.monotonic() > deadline:
            return in_flight(reader)
        time.sleep(_POLL_SECONDS)
    return []


def _undecided(reader: Reader, which: Any) -> list[dict[str, Any]]:
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
        for row in reader.query("order", select(t.order.c.order_id).where(which))
    ]


def _is_open(box: str) -> Any:
    return _BOXES[box].c.status.in_(_OPEN[box])


def _count(reader: Reader, service: str, which: Any) -> int:
    rows = reader.query(service, select(func.count().label("number")).where(which))
    return int(rows[0]["number"])


def _events(reader: Reader, service: str, box: str, which: Any) -> list[dict[str, Any]]:
    table = _BOXES[box]
    columns: list[Column[Any]] = [
        table.c[name]
        for name in ("event_id", "topic", "msg_key", "status", "last_error", "tries", "next_try")
    ]
    way = "outbox." if box == "outbox" else ""
    found = []
    for row in reader.query(service, select(*columns).where(which)):
        says, kind = _WORDS[box][row["status"]]
        found.append(
            {
                "id": f"{service}.{way}{row['event_id']}",
                "what": f"{row['topic']} {says} in the {box} of {service}",
                "order": int(row["msg_key"]) if row["msg_key"].isdecimal() else None,
                "cause": row["last_error"],
                "tries": row["tries"],
                "kind": kind,
                "next_try": None if row["status"] == _DEAD[box] else row["next_try"],
                "topic": row["topic"],
            }
        )
    return found
