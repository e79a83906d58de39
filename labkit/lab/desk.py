"""Driving one stuck thing by hand."""

from typing import Any

from labkit.home import Home
from labkit.results import Code, Result
from labkit.runtime.calls import Calls
from labkit.runtime.desk import Desk, RetryCommand
from labkit.runtime.registry import Registry
from labkit.runtime.steps import Unknown
from labkit.shop.tables import TABLES

_SECONDS = 5.0


async def retry(home: Home, id: str) -> Result[Any]:
    """Ask the service at whose desk a stuck thing lies to try it now.

    Args:
        home: of a running lab.
        id: as `stuck` lists it, `service.event_id`.

    Raises:
        ValueError: it is no such id; says what it looks like.
    """
    service, _, number = id.partition(".")
    if service not in TABLES or not number.isdecimal():
        raise ValueError(f"{id!r}: an id looks like goods.383026413512351744; see: labkit stuck")
    calls = Calls("desk", Registry(home.registry), home.secret, None, _SECONDS)
    try:
        return await calls.stub(Desk, service).retry(RetryCommand(event_id=int(number)))
    except Unknown as unknown:
        return Result[Any].no(Code.DEPENDENCY_AWAY, f"{id}: {unknown}")
    finally:
        await calls.close()
