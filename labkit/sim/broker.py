"""A simulated Kafka: topics of partitions, consumer groups with members, offsets and rebalances.

It keeps what it has acknowledged, unless it is decided that it loses a record. A member that died
has its partitions until its session is over. Who gets a partition reads on from the offset that the
group has committed, so records come twice. In which order a member reads its partitions is drawn:
only within a partition is there one.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable
from zlib import crc32

from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import BrokerError, Consumer, Partition, Polled
from labkit.sim.deviations import Decisions, seconds_of
from labkit.sim.loop import SimLoop, wake
from labkit.sim.process import Process
from labkit.sim.recording import BROKER, Record

_HOP_S = 0.0005
_MAX_RECORDS = 100
#: What can happen to a record: it is acknowledged and lost, or stands there twice, or comes late.
FATES = ("lose", "duplicate", "delay:0.3", "delay:1.5", "delay:5")


class SimCluster:
    """The brokers, as all processes see them.

    Args:
        loop: the loop.
        decisions: decide what becomes of a record.
        record: of the life.
        partitions: of each topic.
        session_s: after which the partitions of a member that died are given to others.
        seed: of the order in which partitions are read.
    """

    def __init__(
        self,
        loop: SimLoop,
        decisions: Decisions,
        record: Record,
        partitions: int,
        session_s: float,
        seed: int,
    ) -> None:
        self.loop = loop
        self.record = record
        self.partitions = partitions
        self._decisions = decisions
        self._session_s = session_s
        self._draw = random.Random(seed)
        self.records: defaultdict[Partition, list[OutboxMessage]] = defaultdict(list)
        self.offsets: defaultdict[tuple[str, Partition], int] = defaultdict(int)
        self._members: defaultdict[str, list[SimConsumer]] = defaultdict(list)

    def partition_of(self, topic: str, key: str) -> Partition:
        """Return the partition in which the records of a key stand."""
        return topic, crc32(key.encode()) % self.partitions

    def append(self, message: OutboxMessage) -> None:
        """Take a record, or decide what becomes of it instead."""
        fate, _, seconds = self._decisions.decide(f"broker.{message.topic}", FATES).partition(":")
        if fate == "lose":
            return
        if fate == "delay":
            self.loop.call_outside(float(seconds), self._append, message)
            return
        for _ in range(2 if fate == "duplicate" else 1):
            self._append(message)

    def join(self, member: "SimConsumer") -> None:
        """Add a member to its group."""
        self._members[member.group].append(member)
        self._rebalance(member.group)

    def leave(self, member: "SimConsumer") -> None:
        """Remove a member from its group."""
        if member in self._members[member.group]:
            self._members[member.group].remove(member)
            self._rebalance(member.group)

    def outlive(self, member: "SimConsumer") -> None:
        """Notice that a member died, when its session is over."""
        self.loop.call_outside(self._session_s, self.leave, member)

    def miss(self, member: "SimConsumer", seconds: float) -> None:
        """Notice that a member is silent for so long, if that is longer than its session."""
        if seconds > self._session_s:
            self.loop.call_outside(self._session_s, self._expel, member)

    def admit(self, member: "SimConsumer") -> None:
        """Add a member to its group again, if it was expelled."""
        if member not in self._members[member.group]:
            self.join(member)

    def _expel(self, member: "SimConsumer") -> None:
        self.leave(member)
        member.assign({})

    def _append(self, message: OutboxMessage) -> None:
        partition = self.partition_of(message.topic, message.key)
        self.records[partition].append(message)
        for members in self._members.values():
            for member in members:
                if partition in member.positions:
                    member.wake()

    def _rebalance(self, group: str) -> None:
        """Share the partitions out among the members of a group."""
        members = self._members[group]
        for at, member in enumerate(members):
            partitions = [
                (topic, number)
                for topic in member.topics
                for number in range(self.partitions)
                if number % len(members) == at
            ]
            self._draw.shuffle(partitions)
            member.assign({part: self.offsets[group, part] for part in partitions})


class SimConsumer:
    """The port `Consumer`: a member of a group.

    Args:
        cluster: the brokers.
        process: whose consumer it is; the group bears the name of its service.
        topics: what it reads.

    Attributes:
        positions: partition → the next record that it reads.
    """

    def __init__(self, cluster: SimCluster, process: Process, topics: Iterable[str]) -> None:
        self._cluster = cluster
        self._process = process
        self.group = process.service
        self.topics = tuple(topics)
        self.positions: dict[Partition, int] = {}
        self._generation = self._polled_in = 0
        self._waiting: asyncio.Future[None] | None = None

    async def poll(self, timeout_s: float) -> Polled:
        """Wait for events, and return those that came."""
        self._cluster.admit(self)
        if not self._has_more():
            self._waiting = self._cluster.loop.create_future()
            self._cluster.loop.call_later(timeout_s, wake, self._waiting)
            await self._waiting
        self._polled_in = self._generation
        deliveries: list[Delivery] = []
        for partition, position in self.positions.items():
            part = self._cluster.records[partition][position : position + _MAX_RECORDS]
            self.positions[partition] = position + len(part)
            for message in part:
                self._cluster.record.message(BROKER, self.group, message.topic)
            deliveries += [_delivery(self.group, record) for record in part]
        assigned = frozenset(self.positions)
        return Polled(deliveries, assigned, assigned)

    async def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of.

        Raises:
            BrokerError: the group has given the partitions to others meanwhile.
        """
        await asyncio.sleep(_HOP_S)
        if self._generation != self._polled_in:
            raise BrokerError("the group was rebalanced")
        for partition, position in self.positions.items():
            self._cluster.offsets[self.group, partition] = position

    async def close(self) -> None:
        """Leave the group; who has died says nothing to it any more."""
        if self._process.is_alive:
            self._cluster.leave(self)

    def partition_of(self, topic: str, key: str) -> Partition | None:
        """Return the partition that holds the events of a key."""
        return self._cluster.partition_of(topic, key)

    def assign(self, positions: dict[Partition, int]) -> None:
        """Read other partitions from now on."""
        self._generation += 1
        self.positions = positions
        self.wake()

    def wake(self) -> None:
        """Let a poll that waits look again, a hop later."""
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            self._cluster.loop.call_outside(_HOP_S, wake, waiting)

    def _has_more(self) -> bool:
        records = self._cluster.records
        return any(len(records[part]) > position for part, position in self.positions.items())


class SimBroker:
    """The port `Broker` of one process, and its port `Producer`.

    Args:
        cluster: the brokers.
        process: the process.
    """

    def __init__(self, cluster: SimCluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process

    def producer(self) -> "SimBroker":
        """Return a way to the broker."""
        return self

    async def send(self, message: OutboxMessage) -> None:
        """Send a message; return when the broker has acknowledged it."""
        await asyncio.sleep(_HOP_S)
        self._cluster.record.message(self._process.service, BROKER, message.topic)
        self._cluster.append(message)
        await asyncio.sleep(_HOP_S)

    async def join(self, topics: Iterable[str]) -> Consumer:
        """Join the consumer group of the service."""
        await asyncio.sleep(_HOP_S)
        member = SimConsumer(self._cluster, self._process, topics)
        self._process.at_death(lambda: self._cluster.outlive(member))
        events = self._process.events
        self._process.at_event(lambda turn: self._cluster.miss(member, seconds_of(events[turn])))
        self._cluster.join(member)
        return member

    def change_group(self) -> None:
        """Refuse: no group is lost here."""
        raise AssertionError("its group has admitted it")


def _delivery(group: str, message: OutboxMessage) -> Delivery:
    return Delivery(
        group=group,
        event_id=message.event_id,
        topic=message.topic,
        tag=message.tag,
        key=message.key,
        body=message.body,
    )
