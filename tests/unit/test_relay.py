"""The relay: what it claims, it can send."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.runtime.broker import Broker
from labkit.runtime.outbox import Parcel
from labkit.runtime.relay import Relay
from labkit.shop.wiring import GROUPS
from tests.unit.grouping import SECONDS, mark, running

_ROOM, _BATCH = 10, 100


class StandsStill:
    """A broker that takes messages and says nothing more."""

    def producer(self) -> "StandsStill":
        """Give one of its clients."""
        return self

    def send(self, _parcel: Parcel) -> "StandsStill":
        """Take a message."""
        return self

    def add_callback(self, _callback: Any) -> None:
        """Call nobody."""

    add_errback = add_callback


def test_no_more_is_claimed_than_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long outbox and a broker that stands still: the database is not busy with claims."""
    claimed: list[Parcel] = []
    with running(tmp_path / "a", outbox_lease=0.1) as (runner, _):
        for told in [runner.database.submit(*mark(number)) for number in range(1, 301)]:
            told.result(SECONDS)

        async def relay_for_a_while() -> None:
            broker = cast(Broker, StandsStill())
            relay = Relay("goods", broker, runner.failpoints, lambda _: cast(Any, None), _ROOM, 60)
            send = relay._send_all
            monkeypatch.setattr(
                relay, "_send_all", lambda parcels: (claimed.extend(parcels), send(parcels))
            )
            task = asyncio.create_task(relay.run(runner.database, GROUPS))
            await asyncio.sleep(1.5)
            task.cancel()

        asyncio.run(relay_for_a_while())
    assert _ROOM <= len(claimed) <= _BATCH
