"""Driving one stuck thing by hand: try it now, give it up to the dead letters, take it back."""

import asyncio
import re
from typing import Any

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
from labkit.shop.pay_messages import FindPayment
from labkit.shop.tables import TABLES

RETRY, GIVE_UP, TAKE_BACK = VERBS = ("retry", "give_up", "take_back")
_SECONDS = 5.0
_ID = re.compile(rf"({'|'.join(TABLES)})\.(outbox\.|order\.)?([0-9]{{1,19}})", re.ASCII)


async def retry(home: Home, id: str) -> Result[Any]:
    """Ask the service at whose desk a stuck thing lies to try it now: see `drive`."""
    return await drive(home, RETRY, id)


async def drive(home: Home, verb: str, id: str) -> Result[Any]:
    """Ask the service at whose desk a stuck thing lies to do something with it.

    Args:
        home: of a running lab.
        verb: one of `VERBS`.
        id: as `stuck` lists it: the service, and the event, the payment or the refund.

    Raises:
        ValueError: it is no such id; says what it looks like.
    """
    found = _ID.fullmatch(id)
    if not found:
        raise ValueError(f"{id!r}: an id looks like goods.383026413512351744; see: labkit stuck")
    service, kind, number = found[1], found[2], int(found[3])
    if kind == "order.":
        text = f"order {number} is decided by the order service itself, at its deadline"
        return Result[Any].refused(Code.BAD_REQUEST, f"{text}: nobody can hurry or stop that")
    thing = StuckItem(number=number, outbox=kind is not None)
    async with calls_from("desk", home, _SECONDS) as calls:
        try:
            return await _drive(home, calls, verb, service, thing)
        except Unknown as unknown:
            return Result[Any].refused(Code.DEPENDENCY_AWAY, f"{id}: {unknown}")


def drive_now(home: Home, verb: str, id: str) -> Result[Any]:
    """The same from code that is no coroutine, as a cell of a notebook, which has a loop already.

    Raises:
        ValueError: as `drive`.
    """
    return run_beside(drive(home, verb, id))


async def _drive(
    home: Home, calls: Calls, verb: str, service: str, thing: StuckItem
) -> Result[Any]:
    if verb == RETRY and service == "pay" and not thing.outbox:
        pay_id = await asyncio.to_thread(_payment_of, home, thing.number)
        if pay_id is not None:
            query = FindPayment(pay_id=pay_id)
            return await calls.stub(PayService, service).look_after_payment(query)
    told: Result[Any] = await getattr(calls.stub(AdminService, service), verb)(thing)
    return told


def _payment_of(home: Home, number: int) -> int | None:
    reader = Reader(home)
    try:
        return payments_in_flight.payment_of(reader, number)
    finally:
        reader.close()
