"""Driving one stuck thing by hand."""

from typing import Any

from labkit.home import Home
from labkit.lab import money
from labkit.lab.data import Reader
from labkit.results import Code, Result
from labkit.runtime.desk import Desk, RetryCommand
from labkit.runtime.outside import calls_from
from labkit.runtime.steps import Unknown
from labkit.shop.contracts import PayService
from labkit.shop.pay_messages import FindPayment
from labkit.shop.tables import TABLES

_SECONDS = 5.0


async def retry(home: Home, id: str) -> Result[Any]:
    """Ask the service at whose desk a stuck thing lies to try it now.

    Args:
        home: of a running lab.
        id: as `stuck` lists it: the service, and the event, the payment or the refund.

    Raises:
        ValueError: it is no such id; says what it looks like.
    """
    service, _, number = id.partition(".")
    if service not in TABLES or not number.isdecimal():
        raise ValueError(f"{id!r}: an id looks like goods.383026413512351744; see: labkit stuck")
    pay_id = _payment_of(home, int(number)) if service == "pay" else None
    async with calls_from("desk", home, _SECONDS) as calls:
        try:
            if pay_id is not None:
                query = FindPayment(pay_id=pay_id)
                return await calls.stub(PayService, service).look_after_payment(query)
            return await calls.stub(Desk, service).retry(RetryCommand(event_id=int(number)))
        except Unknown as unknown:
            return Result[Any].no(Code.DEPENDENCY_AWAY, f"{id}: {unknown}")


def _payment_of(home: Home, number: int) -> int | None:
    reader = Reader(home)
    try:
        return money.payment_of(reader, number)
    finally:
        reader.close()
