"""What is in flight, and what is stuck: settled means that nothing will change by itself."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from labkit.lab import money
from labkit.lab.data import Reader
from labkit.runtime import tables as rt
from labkit.runtime.clock import wall_ms
from labkit.runtime.ids import first_of
from labkit.shop import tables as t

_POLL_SECONDS = 0.05
_ODD_AFTER_MS = 2000
_UNDECIDED = "order not decided"


def in_flight(reader: Reader) -> list[dict[str, Any]]:
    """Everything that is still on its way: undecided orders, money, unsettled and waiting events.

    What sets something off is read before it, so that nothing is missed while it is handed on: an
    order its message, that a payment's end, that the next message, and that who hears it.
    """
    found = [
        {"id": f"order.{row['order_id']}", "what": _UNDECIDED, "order": row["order_id"],
         "cause": None, "tries": 0, "next_try": None}
        for row in reader.query("order", select(t.order.c.order_id).where(
            t.order.c.order_status == t.UNCONFIRMED))
    ]  # fmt: skip
    others = [service for service in t.TABLES if service != "pay"]
    for service in others:
        found += _unsettled(reader, service)
    found += _waiting(reader, "pay")
    found += money.in_flight(reader)
    found += _unsettled(reader, "pay")
    for service in others:
        found += _waiting(reader, service)
    return found


def stuck(reader: Reader) -> list[dict[str, Any]]:
    """What waits or failed: late orders and money, whatever has an error, and dead events."""
    flying = [one for one in in_flight(reader) if one["cause"] or _is_late(one)]
    for service in t.TABLES:
        flying += _events(reader, service, rt.inbox, rt.inbox.c.status == rt.DEAD)
    return flying


def settle(
    reader: Reader, timeout: float, progress: Callable[[int], None] = lambda _: None
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
    while left := in_flight(reader):
        progress(len(left))
        if time.monotonic() > deadline:
            return left
        time.sleep(_POLL_SECONDS)
    progress(0)
    return []


def _is_late(one: dict[str, Any]) -> bool:
    """Whether nobody has looked after it for longer than it ever takes."""
    late = wall_ms() - _ODD_AFTER_MS
    if one["what"] == _UNDECIDED:
        return bool(one["order"] < first_of(late))
    return one["what"] in money.KINDS and (one["next_try"] or 0) < late


def _unsettled(reader: Reader, service: str) -> list[dict[str, Any]]:
    return _events(reader, service, rt.outbox, rt.outbox.c.status != rt.SETTLED)


def _waiting(reader: Reader, service: str) -> list[dict[str, Any]]:
    return _events(reader, service, rt.inbox, rt.inbox.c.status == rt.WAITING)


def _events(reader: Reader, service: str, table: Any, which: Any) -> list[dict[str, Any]]:
    box = "outbox" if table is rt.outbox else "inbox"
    words = {rt.WAITING: "waits", rt.DEAD: "is dead"} if table is rt.inbox else {
        rt.UNSENT: "is not sent", rt.SENT: "is not settled"}  # fmt: skip
    return [
        {"id": f"{service}.{row['event_id']}",
         "what": f"{row['topic']} {words[row['status']]} in the {box} of {service}",
         "order": int(row["msg_key"]) if row["msg_key"].isdecimal() else None,
         "cause": row["last_error"], "tries": row["tries"], "next_try": row["next_try"]}
        for row in reader.query(service, select(table).where(which))
    ]  # fmt: skip
