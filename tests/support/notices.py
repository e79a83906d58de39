"""Payments of the platform whose merchant listens, for the tests of its notices."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from labkit.home import Home
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.injection.failpoints import FailpointStore, hits_of
from labkit.runtime.wiring import failpoints_of
from tests.support.platforming import (
    PLATFORM_KEY,
    Merchant,
    Served,
    listening,
    make_home,
    rows_at,
    served,
)

NOTIFY = "platform.notify.before_notify"
PUBLIC = PLATFORM_KEY.public_key()

Scenario = Callable[[Served, Merchant], Coroutine[Any, Any, None]]


def run(folder: Path, scenario: Scenario, merchant: Merchant | None = None) -> None:
    """Serve the platform and a merchant that listens, and run a scenario on both."""

    async def whole() -> None:
        async with (
            listening(merchant or Merchant()) as merchant_,
            served(make_home(folder), merchant_.url) as platform,
        ):
            await scenario(platform, merchant_)

    asyncio.run(whole())


async def pay(platform: Served, number: int = 1, button: str = "pay", tell: str = "") -> None:
    """Open a trade, which shall be told of there, and press a button of its cashier page."""
    client = platform.client_of(tell or platform.told_at)
    opened = await client.create_trade(platform.asked(number))
    await client.close()
    answer = await platform.http.post(f"{opened.data.cashier_url}/{button}")
    assert answer.status_code == 200


def notice(platform: Served, number: int = 1) -> dict[str, Any]:
    """The row of a trade's notice."""
    rows = rows_at(platform.home)["platform_notice"]
    return next(row for row in rows if row["out_trade_no"] == number)


def arm(platform: Served, action: str, name: str = NOTIFY) -> None:
    """Arm a failpoint once."""
    FailpointStore(platform.home.faults).arm(name, action)


def hits(home: Home, name: str) -> int:
    """How often a failpoint of the platform was crossed."""
    points = [point.name for point in failpoints_of(PLATFORM)]
    return hits_of(home.faults, "platform-1", len(points)).read(points.index(name))
