"""A broker in memory, behind the same ports as Kafka: one topic, two partitions, no thread."""

import asyncio
from collections.abc import Iterable

from labkit.runtime.clock import Clock, MachineClock
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.inbox import Delivery, Missing, MissingQuery
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import Partition, Polled, StepRunner
from labkit.runtime.messaging.reading import LostQuery, Reading
from labkit.shop.messages import OrderCancelled

TOPIC = OrderCancelled.topic


class Log:
    """The records of one topic, in two partitions: an even key lies in 0, an odd one in 1.

    Attributes:
        losses: how many of the next records the broker acknowledges and loses.
    """

    def __init__(self) -> None:
        self.records: list[list[OutboxMessage]] = [[], []]
        self.losses = 0

    def append(self, message: OutboxMessage) -> None:
        """Take a record."""
        if self.losses:
            self.losses -= 1
        else:
            self.records[int(message.key) % 2].append(message)


class MemoryBroker:
    """The port `Broker` of one instance, which its group has given one partition.

    Args:
        log: what the broker holds.
        number: of the partition.
        clock: what waiting is measured by.
    """

    def __init__(self, log: Log, number: int, clock: Clock | None = None) -> None:
        self._log = log
        self._number = number
        self._clock = clock or MachineClock()
        self._position = 0
        self.reads = asyncio.Event()
        self.reads.set()

    async def join(self, _topics: Iterable[str]) -> "MemoryBroker":
        return self

    async def poll(self, _timeout_s: float) -> Polled:
        await self.reads.wait()
        await self._clock.sleep(0.01)
        records = self._log.records[self._number][self._position :]
        self._position += len(records)
        part = frozenset({(TOPIC, self._number)})
        return Polled([delivery_of(record) for record in records], part, part)

    async def commit(self) -> None:
        """Nobody reads it again."""

    async def close(self) -> None:
        """Nobody waits for it."""

    def partition_of(self, topic: str, key: str) -> Partition:
        return topic, int(key) % 2

    async def send(self, message: OutboxMessage) -> None:
        self._log.append(message)

    def producer(self) -> "MemoryBroker":
        return self

    def change_group(self) -> None:
        raise AssertionError("its group has admitted it")


class Admin:
    """The admin service of one instance, as `ServiceRuntime` serves it."""

    def __init__(self, database: StepRunner, consumer: EventConsumer) -> None:
        self._database = database
        self._consumer = consumer

    async def find_missing(self, query: MissingQuery) -> Missing:
        return await self._database.run(inbox.find_missing, query)

    async def find_lost(self, query: LostQuery) -> Reading:
        behind_s = {number: self._consumer.behind_s(*way) for number, way in query.routes.items()}
        return Reading(missing=await self.find_missing(query), behind_s=behind_s)


def delivery_of(message: OutboxMessage) -> Delivery:
    return Delivery(
        group="goods",
        event_id=message.event_id,
        topic=message.topic,
        tag=message.tag,
        key=message.key,
        body=message.body,
    )
