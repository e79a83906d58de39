"""The relay: what it claims, it can send; what is lost is counted, whatever else is wrong."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.runtime.db.tables import SENT, UNSENT
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import Broker
from labkit.runtime.messaging.reading import LostQuery, Reading
from labkit.runtime.messaging.relay import Relay
from labkit.shop.wiring import GROUPS
from tests.support.asking import submit
from tests.support.grouping import SECONDS, mark, running
from tests.support.store import audited

_ROOM, _BATCH = 10, 100


class StandsStill:
    """A broker that takes messages and says nothing more."""

    def producer(self) -> "StandsStill":
        """Give one of its clients."""
        return self

    async def send(self, _message: OutboxMessage) -> None:
        """Take a message."""
        await asyncio.Event().wait()


def test_no_more_is_claimed_than_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long outbox and a broker that stands still: the database is not busy with claims."""
    claimed: list[OutboxMessage] = []
    with running(tmp_path / "a", outbox_lease=0.1) as (runner, _):
        for future in [submit(runner.database, *mark(number)) for number in range(1, 301)]:
            future.result(SECONDS)

        async def relay_for_a_while() -> None:
            broker = cast(Broker, StandsStill())
            relay = Relay("goods", broker, runner.failpoints, lambda _: cast(Any, None), _ROOM, 60)
            send = relay.send_all
            monkeypatch.setattr(
                relay, "send_all", lambda messages: (claimed.extend(messages), send(messages))
            )
            task = asyncio.create_task(relay.run(runner.database, GROUPS))
            await asyncio.sleep(1.5)
            task.cancel()

        asyncio.run(relay_for_a_while())
    assert _ROOM <= len(claimed) <= _BATCH


class Keeps:
    """A broker that acknowledges at once, and keeps what it got."""

    def __init__(self) -> None:
        self.messages: list[OutboxMessage] = []

    def producer(self) -> "Keeps":
        """Give one of its clients."""
        return self

    async def send(self, message: OutboxMessage) -> None:
        """Take a message."""
        self.messages.append(message)


@pytest.mark.parametrize(
    ("action", "copies"), [("lose", 0), ("duplicate", 2), ("delay:0.01", 1), ("", 1)]
)
def test_what_is_lost_counts_as_sent(tmp_path: Path, action: str, copies: int) -> None:
    """A message that is armed to be lost comes to no broker, and its row says that it was sent."""
    broker = Keeps()
    with running(tmp_path / "a") as (runner, store):
        if action:
            FailpointStore(tmp_path / "a").arm("goods.order_cancel.before_send", action)
        submit(runner.database, *mark(1)).result(SECONDS)

        async def relay_until_sent() -> None:
            port = cast(Broker, broker)
            relay = Relay("goods", port, runner.failpoints, lambda _: cast(Any, None), _ROOM, 60)
            task = asyncio.create_task(relay.run(runner.database, GROUPS))
            async with asyncio.timeout(SECONDS):
                while store.row("trade_mq_producer")["status"] != SENT:
                    await asyncio.sleep(0.01)
            task.cancel()

        asyncio.run(relay_until_sent())
    assert len(broker.messages) == copies


class Admins:
    """The admin services of all groups: one has lost everything, one gives no answer."""

    def __init__(self, group: str) -> None:
        self._group = group

    async def find_missing(self, query: MissingQuery) -> Missing:
        """Answer for a group."""
        if self._group == "coupon":
            raise Unknown("coupon gave no answer to find_missing")
        return Missing(lost=tuple(query.fingerprints) if self._group == "goods" else ())

    async def find_lost(self, query: LostQuery) -> Reading:
        """Answer for a group that has read all there was."""
        behind_s = dict.fromkeys(query.routes, 0.0)
        return Reading(missing=await self.find_missing(query), behind_s=behind_s)


def test_what_is_lost_in_vain_is_counted_while_another_group_is_away(tmp_path: Path) -> None:
    """Else it would be sent again at the same pace for as long as that group gives no answer."""
    with running(tmp_path / "a") as (runner, store):
        submit(runner.database, *mark(1)).result(SECONDS)
        event_id = store.row("trade_mq_producer")["event_id"]

        async def audit() -> None:
            relay = Relay(
                "goods",
                cast(Broker, StandsStill()),
                runner.failpoints,
                lambda group: cast(AdminService, Admins(group)),
                _ROOM,
                1,
            )
            relay._database = runner.database
            for _ in range(3):
                await runner.database.run(outbox.mark_sent, [event_id])
                await relay._audit(audited(store, event_id))

        asyncio.run(audit())
        row = store.row("trade_mq_producer")
    assert (row["status"], row["tries"]) == (UNSENT, 3)
    assert "not in goods" in row["last_error"]
