"""Two instances of one group, on a broker in memory: each speaks for its own partitions alone.

No Kafka, no thread of a client: what consumes and audits awaits nothing but the ports.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.audit import Findings, PatientAdmin, ask_groups
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.outbox import MissingFrom, OutboxMessage
from labkit.runtime.messaging.ports import Broker
from labkit.shop.goods import return_stock
from labkit.shop.messages import OrderCancelled
from labkit.waiting import wait_until
from tests.support.grouping import Runner, running
from tests.support.memory_broker import TOPIC, Admin, Log, MemoryBroker

LAGS = "goods lags behind, and has not read it yet"


def _message(event_id: int, order_id: int) -> OutboxMessage:
    body = OrderCancelled(order_id=order_id).model_dump_json()
    tag = OrderCancelled.tag
    return OutboxMessage(event_id, TOPIC, tag, str(order_id), body, ("goods",))


@asynccontextmanager
async def consuming(runner: Runner, broker: MemoryBroker) -> AsyncIterator[EventConsumer]:
    handlers = {TOPIC: (OrderCancelled, return_stock)}
    consumer = EventConsumer(
        "goods", handlers, cast(Broker, broker), runner.database, runner.failpoints
    )
    consumer.start()
    try:
        yield consumer
    finally:
        broker.reads.set()
        await consumer.stop()


async def audit(runner: Runner, consumer: EventConsumer, message: OutboxMessage) -> Findings:
    admin = PatientAdmin(cast(AdminService, Admin(runner.database, consumer)), pause_s=0)
    return await ask_groups(lambda _group: admin, [message], audit_delay=1.0)


async def reading_to_the_end(consumer: EventConsumer, key: str) -> None:
    await asyncio.to_thread(
        wait_until, lambda: consumer.behind_s(TOPIC, key) < 0.4, "it has read all"
    )


def test_what_another_instance_has_not_read_yet_is_no_loss(tmp_path: Path) -> None:
    """One instance lags and the other has read all it was given: who is asked does not matter, and
    the message is found when the one that lags has read it."""
    message = _message(event_id=1, order_id=1001)

    async def main(runner: Runner) -> None:
        log = Log()
        even, odd = MemoryBroker(log, 0), MemoryBroker(log, 1)
        odd.reads.clear()
        async with consuming(runner, even) as idle, consuming(runner, odd) as lagging:
            await reading_to_the_end(idle, "1000")
            log.append(message)
            for consumer in (idle, lagging):
                findings = await audit(runner, consumer, message)
                assert (findings.missing(), list(findings.waiting)) == ([], [LAGS])
            odd.reads.set()
            await reading_to_the_end(lagging, message.key)
            findings = await audit(runner, idle, message)
            assert findings.arrived([message]) == [message]

    with running(tmp_path / "a") as (runner, _):
        asyncio.run(main(runner))


def test_what_the_broker_lost_is_found_lost_by_the_instance_that_would_read_it(
    tmp_path: Path,
) -> None:
    """The other one cannot know; it is asked again, and so the right one is asked in the end."""
    message = _message(event_id=1, order_id=1001)

    async def main(runner: Runner) -> None:
        log = Log()
        even, odd = MemoryBroker(log, 0), MemoryBroker(log, 1)
        async with consuming(runner, even) as other, consuming(runner, odd) as owner:
            await reading_to_the_end(other, "1000")
            await reading_to_the_end(owner, message.key)
            findings = await audit(runner, other, message)
            assert (findings.missing(), list(findings.waiting)) == ([], [LAGS])
            findings = await audit(runner, owner, message)
            assert findings.missing() == [MissingFrom(event_ids=(1,), groups=("goods",))]

    with running(tmp_path / "a") as (runner, _):
        asyncio.run(main(runner))
