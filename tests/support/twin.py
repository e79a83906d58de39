"""The same story on the twin and on a real lab, and both ends in a form that can be compared."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from labkit.lab import Lab
from labkit.ops.history import RequestKind
from labkit.ops.reader import DATABASES
from labkit.shop import messages as m
from labkit.sim.customer import Customer
from labkit.sim.front import Answer
from labkit.sim.life import Stage
from labkit.sim.stories import STORIES

#: Columns whose values differ from one run to the next, and mean nothing else.
_ALIASED = ("_id", "_no", "_time", "token", "hash", "body", "result", "answer", "key", "last_error")
_ALSO = (
    "next_try",
    "next_check",
    "time_expire",
    "tries",
    "trace",
    "cancel_reason",
    "notify_url",
    "subject",
)
#: Ids that are the same in every run.
_FIXED = ("user_id", "goods_id", "coupon_id")

#: table → its rows as they can be compared, in order.
Ending = dict[str, list[str]]
Rows = Callable[[str, str], list[Mapping[str, Any]]]


class LabFront:
    """The front of a real lab.

    Args:
        lab: the lab.
    """

    def __init__(self, lab: Lab) -> None:
        self._client = lab.client

    async def place(self, key: str, order: m.PlaceOrder) -> Answer:
        """Place an order, under an idempotency key."""
        body: Any = order.model_dump()
        return await _send(lambda: self._client.place(body, key))

    async def find(self, order_id: int) -> Answer:
        """Look an order up."""
        return await _send(lambda: self._client.find(order_id))

    async def cancel(self, order_id: int, user_id: int) -> Answer:
        """Cancel an order."""
        return await _send(lambda: self._client.cancel(order_id, user_id))

    async def return_order(self, order_id: int, user_id: int) -> Answer:
        """Return an order."""
        return await _send(lambda: self._client.return_order(order_id, user_id))

    async def open_payment(self, order_id: int) -> Answer:
        """Open the payment of an order."""
        return await _send(lambda: self._client.create_payment(order_id))

    async def press(self, cashier_url: str, button: RequestKind) -> Answer:
        """Press a button of the cashier page."""
        return await _send(lambda: self._client.press(cashier_url, str(button)))


def tell(lab: Lab, story: str) -> None:
    """Have a customer of a real lab do what a story tells, until it ends."""
    asyncio.run(STORIES[story](Customer(LabFront(lab), 0)))


def ending_of_lab(lab: Lab) -> Ending:
    """Return the end of what happened in a lab."""
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name in {table.name for tables in DATABASES.values() for table in tables}:
        for row in lab._reader.table(name):
            homes = [home for home, tables in DATABASES.items() if name in {t.name for t in tables}]
            rows.setdefault((row.get("service", homes[0]), name), []).append(row)
    return _ending(lambda service, table: rows.get((service, table), []))


def ending_of_stage(stage: Stage) -> Ending:
    """Return the end of a life, before it is forgotten."""
    return _ending(lambda service, table: [dict(row) for row in stage.checker.rows(service, table)])


def _ending(rows_of: Rows) -> Ending:
    """Write every row of every table without what differs from run to run, sorted."""
    ending: Ending = {}
    for service, tables in DATABASES.items():
        for table in tables:
            if rows := sorted(_plain(row) for row in rows_of(service, table.name)):
                ending[f"{service}.{table.name}"] = rows
    return ending


def _plain(row: Mapping[str, Any]) -> str:
    kept = {
        column: int(value) if isinstance(value, bool) else value
        for column, value in row.items()
        if column in _FIXED or not (column.endswith(_ALIASED) or column in (*_ALSO, "service"))
    }
    return repr(sorted((column, _known(column, value)) for column, value in kept.items()))


def _known(column: str, value: Any) -> Any:
    """Return a value; of a message's key only that there is one."""
    return bool(value) if column == "msg_key" else value


async def _send(send: Callable[[], httpx.Response]) -> Answer:
    try:
        response = await asyncio.to_thread(send)
    except httpx.TransportError:
        return Answer()
    try:
        data = response.json()["data"] or {}
    except (ValueError, KeyError, TypeError):
        data = {}
    return Answer(response.status_code, data)
