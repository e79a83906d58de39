"""What is in flight, and what is stuck: settled means that nothing will change by itself."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from labkit.lab.data import Reader
from labkit.runtime import tables as rt
from labkit.runtime.clock import wall_ms
from labkit.runtime.ids import first_of
from labkit.shop import tables as t

_POLL_SECONDS = 0.05
_ODD_AFTER_MS = 2000


def in_flight(reader: Reader) -> list[dict[str, Any]]:
    """Everything that is still on its way: undecided orders, unsettled and waiting events."""
    found = [
        {"id": f"order.{row['order_id']}", "what": "order not decided", "order": row["order_id"],
         "cause": None, "tries": 0, "next_try": None}
        for row in reader.query("order", select(t.order.c.order_id).where(
            t.order.c.order_status == t.UNCONFIRMED))
    ]  # fmt: skip
    for service in t.TABLES:
        found += _events(reader, service, rt.outbox, rt.outbox.c.status != rt.SETTLED)
        found += _events(reader, service, rt.inbox, rt.inbox.c.status == rt.WAITING)
    return found


def stuck(reader: Reader) -> list[dict[str, Any]]:
    """What waits or failed: late orders, events with an error, and dead ones."""
    late = first_of(wall_ms() - _ODD_AFTER_MS)
    flying = [
        one for one in in_flight(reader)
        if one["cause"] or (one["what"] == "order not decided" and one["order"] < late)
    ]  # fmt: skip
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
