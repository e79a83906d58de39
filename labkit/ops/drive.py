"""Manual actions on a stuck item: retry it now, give it up, or take a dead letter back."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum

from labkit.home import Home
from labkit.ops import payments_in_flight
from labkit.ops.reader import Reader
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.tool_client import calls_from, run_beside
from labkit.shop.codes import Code
from labkit.shop.pay.contract import PayService
from labkit.shop.pay.messages import FindPayment
from labkit.shop.tables import TABLES

_TIMEOUT_S = 5.0
_ID = re.compile(rf"({'|'.join(TABLES)})\.(outbox\.|order\.)?([0-9]{{1,19}})", re.ASCII)


class ManualAction(StrEnum):
    """Actions of a person on a stuck item; each is a method of the admin service."""

    RETRY = "retry"
    GIVE_UP = "give_up"
    TAKE_BACK = "take_back"


async def retry(home: Home, id: str) -> Result[None]:
    """Retry a stuck item now: see `drive`."""
    return await drive(home, ManualAction.RETRY, id)


async def drive(home: Home, action: ManualAction, id: str) -> Result[None]:
    """Ask the service that has a stuck item to apply an action to it.

    Args:
        home: of a running lab.
        action: what the service does with the item.
        id: as `stuck` lists it: the service, and the event, the payment or the refund.

    Raises:
        ValueError: it is no such id; says what one looks like.
    """
    parts = _ID.fullmatch(id)
    if not parts:
        raise ValueError(f"{id!r}: an id looks like goods.383026413512351744; see: labkit stuck")
    service, kind, number = parts[1], parts[2], int(parts[3])
    if kind == "order.":
        text = f"order {number} is decided by the order service itself, at its deadline"
        return Result[None].refused(Code.BAD_REQUEST, f"{text}: it cannot be driven by hand")
    item = StuckItem(number=number, outbox=kind is not None)

    async def find_payment(number: int) -> int | None:
        return await asyncio.to_thread(_find_payment, home, number)

    async with calls_from("desk", home, _TIMEOUT_S) as calls:
        try:
            return await apply(calls, find_payment, action, service, item)
        except Unknown as unknown:
            return Result[None].refused(Code.DEPENDENCY_AWAY, f"{id}: {unknown}")


def drive_now(home: Home, action: ManualAction, id: str) -> Result[None]:
    """Drive an item from a caller that is no coroutine, such as a cell, which has a loop already.

    Raises:
        ValueError: as `drive`.
    """
    return run_beside(drive(home, action, id))


async def apply(
    calls: Calls,
    find_payment: Callable[[int], Awaitable[int | None]],
    action: ManualAction,
    service: str,
    item: StuckItem,
) -> Result[None]:
    """Call the service that has a stuck item.

    Args:
        calls: to the services.
        find_payment: finds the payment of a number, which is its own id or its refund's.
        action: what the service does with the item.
        service: has the item.
        item: the item.

    Raises:
        Unknown: it did not answer in time.
    """
    if action is ManualAction.RETRY and service == "pay" and not item.outbox:
        pay_id = await find_payment(item.number)
        if pay_id is not None:
            query = FindPayment(pay_id=pay_id)
            return await calls.stub(PayService, service).look_after_payment(query)
    admin = calls.stub(AdminService, service)
    methods = {
        ManualAction.RETRY: admin.retry,
        ManualAction.GIVE_UP: admin.give_up,
        ManualAction.TAKE_BACK: admin.take_back,
    }
    return await methods[action](item)


def _find_payment(home: Home, number: int) -> int | None:
    reader = Reader(home)
    try:
        return payments_in_flight.find_payment(reader, number)
    finally:
        reader.close()
