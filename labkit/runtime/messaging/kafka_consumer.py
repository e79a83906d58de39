"""Reading from Kafka: a member of a consumer group, in a thread of its own."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from kafka import ConsumerRebalanceListener
from kafka import TopicPartition as TopicPartitionOf
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError
from kafka.partitioner.default import murmur2

from labkit.runtime.messaging.client_thread import ClientThread
from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.messaging.ports import BrokerError, GroupLost, Partition, Polled
from labkit.runtime.messaging.sharing import Share
from labkit.runtime.telemetry.context import checked

log = logging.getLogger(__name__)

A = TypeVar("A")
#: Objects of kafka-python, which has no types.
KafkaClient = Any
TopicPartition = Any
Record = Any

_JOINED_S = 2.0  # that leaving waits for a join to end
_LEAVING_POLL_S = 0.05
_MAX_NAME = 64  # letters of a key or a tag
_MAX_BODY_BYTES = 8 * 1024  # as a dead letter a body must still fit an outbox
_TRACE_LENGTH = 55  # letters of a traceparent


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """The state of a member: settled in its group, or joining it (again)."""

    joining = True

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002  # the client's interface
        """Note that the group distributes its partitions anew."""
        self.joining = True

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002  # the same
        """Note that the group has settled, perhaps with nothing for this member."""
        self.joining = False


class Member:
    """A member of a group, for one thread.

    Args:
        client: kafka-python's.
        group: of the deliveries.
        prefix: of the lab's topics.
        membership: in its group.
        patience: seconds that joining may take.
    """

    def __init__(
        self, client: KafkaClient, group: str, prefix: str, membership: Membership, patience: float
    ) -> None:
        self._client = client
        self._membership = membership
        self._group = group
        self._prefix = prefix
        self._patience = patience
        self._member_at = time.monotonic()
        self._numbers: dict[str, list[int]] = {}  # topic → its partitions

    def poll(self, timeout_s: float) -> Polled:
        """Wait for events, and return those that came.

        Raises:
            GroupLost: for too long the group has not admitted this member.
        """
        records = (record for batch in self._poll(timeout_s).values() for record in batch)
        deliveries = list(self._deliveries(records))
        parts = [] if self._membership.joining else list(self._client.assignment())
        for topic in {part.topic for part in parts}:
            numbers = sorted(self._client.partitions_for_topic(topic))
            self._numbers[topic.removeprefix(self._prefix)] = numbers
        return Polled(
            deliveries,
            frozenset(map(self._partition, parts)),
            frozenset(self._partition(part) for part in parts if self._has_read(part)),
        )

    def partition_of(self, topic: str, key: str) -> Partition | None:
        """Return the partition to which the producer sends a key; None if that is not known yet.

        The clients of Kafka agree on this hash.
        """
        numbers = self._numbers.get(topic)
        if not numbers:
            return None
        return topic, numbers[(murmur2(key.encode()) & 0x7FFFFFFF) % len(numbers)]

    def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of.

        While the partitions are distributed anew, others will read it again: the inbox knows it.
        """
        with suppress(CommitFailedError, RebalanceInProgressError):
            self._client.commit()

    def close(self) -> None:
        """Leave the group, but not while joining it.

        The embedded broker may make a member that leaves then the leader of the group, for whom the
        others wait for ever.
        """
        deadline = time.monotonic() + _JOINED_S
        try:
            while self._membership.joining and time.monotonic() < deadline:
                self._poll(_LEAVING_POLL_S)  # nothing of it is committed: it comes again
        finally:
            self._client.close(autocommit=False)

    def _poll(self, timeout_s: float) -> dict[TopicPartition, list[Record]]:
        """Poll, and let a join of the group that takes longer than that go on with the next poll.

        kafka-python 3.0 forgets why it joins again where it learnt of partitions and leads the
        group: a poll that ends while it distributes them is its last word. Neither a member nor
        joining, it would burn a core and hear nothing.
        """
        batches: dict[TopicPartition, list[Record]]
        batches = self._client.poll(timeout_ms=int(timeout_s * 1000))
        if not self._membership.joining:
            self._member_at = time.monotonic()
        elif time.monotonic() - self._member_at > self._patience:
            raise GroupLost(f"the group of {self._group} lets nobody in")
        else:
            self._client._coordinator.request_rejoin()  # there is no public way
        return batches

    def _has_read(self, part: TopicPartition) -> bool:
        """Return True if the last poll read a partition to its end.

        The broker says with the records that it gives where a partition ends; before that nobody
        knows.
        """
        end = self._client.highwater(part)
        return end is not None and (self._client.position(part, timeout_ms=0) or 0) >= end

    def _partition(self, part: TopicPartition) -> Partition:
        return part.topic.removeprefix(self._prefix), part.partition

    def _deliveries(self, records: Iterator[Record]) -> Iterator[Delivery]:
        for record in records:
            try:
                yield self._delivery(record)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                log.warning("a record is not ours and is passed over: %s: %r", where, error)

    def _delivery(self, record: Record) -> Delivery:
        headers = dict(record.headers)
        event_id, key, tag = int(headers["event_id"]), record.key.decode(), headers["tag"].decode()
        if not 0 < event_id < 1 << 63 or max(len(key), len(tag)) > _MAX_NAME:
            raise ValueError("its event id, key or tag fits no inbox")
        if len(record.value) > _MAX_BODY_BYTES:
            raise ValueError(f"its body of {len(record.value)} bytes fits no inbox")
        return Delivery(
            group=self._group,
            event_id=event_id,
            topic=record.topic.removeprefix(self._prefix),
            tag=tag,
            key=key,
            body=record.value.decode(),
            trace=_trace(headers.get("traceparent", b"")),
        )


class SharingMember(Member):
    """A consumer that is a member of no group, and shares the partitions with its fellows.

    Its offsets are kept under the name of the group all the same.

    Args:
        client: kafka-python's.
        group: of the deliveries.
        prefix: of the lab's topics.
        topics: that it consumes, by the broker's names.
        share: says which partitions are its own.
        life: tells one life of the broker from another.
    """

    def __init__(
        self,
        client: KafkaClient,
        group: str,
        prefix: str,
        topics: Iterable[str],
        share: Share,
        life: Callable[[], object],
    ) -> None:
        settled = Membership()
        settled.joining = False
        super().__init__(client, group, prefix, settled, math.inf)
        self._topics = sorted(topics)
        self._share = share
        self._life = life
        self._lived = life()

    def _poll(self, timeout_s: float) -> dict[TopicPartition, list[Record]]:
        own = self._share.of(
            [
                TopicPartitionOf(topic, number)
                for topic in self._topics
                for number in sorted(self._client.partitions_for_topic(topic) or ())
            ]
        )
        if self._client.assignment() != set(own):
            self._client.assign(own)
        if not own:  # more instances than partitions, or a broker that has no topics yet
            time.sleep(timeout_s)
            return {}
        batches: dict[TopicPartition, list[Record]]
        batches = self._client.poll(timeout_ms=int(timeout_s * 1000))
        self._begin_again(own)
        return batches

    def _begin_again(self, parts: list[TopicPartition]) -> None:
        """Read partitions from their beginning after the broker was started anew.

        The embedded broker has no disk: a new one knows nothing of what was read, and does not say
        that a place is out of its range. Its log may be longer by now than the old one was.
        """
        if (life := self._life()) != self._lived:
            self._lived = life
            self._client.seek_to_beginning(*parts)
        for part in parts:
            end = self._client.highwater(part)
            if end is not None and end < (self._client.position(part, timeout_ms=0) or 0):
                self._client.seek_to_beginning(part)


def _trace(header: bytes) -> str:
    """Return a `traceparent` whose length fits an inbox, and nothing in place of any other."""
    return checked(header.decode("ascii", "replace")) if len(header) == _TRACE_LENGTH else ""


class ThreadedConsumer:
    """The port `Consumer`, on Kafka."""

    def __init__(self, thread: ClientThread, member: Member) -> None:
        self._thread = thread
        self._member = member

    @classmethod
    async def join(cls, open_member: Callable[[], Member]) -> "ThreadedConsumer":
        """Make a member of a group in a thread of its own.

        Raises:
            BrokerError: the broker is away, or refuses.
        """
        thread = ClientThread("consumer")
        try:
            return cls(thread, await _call(thread, open_member))
        except BaseException:
            thread.end()
            raise

    async def poll(self, timeout_s: float) -> Polled:
        """Wait for events, and return those that came."""
        return await _call(self._thread, partial(self._member.poll, timeout_s))

    async def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of."""
        await _call(self._thread, self._member.commit)

    async def close(self) -> None:
        """Leave the group."""
        try:
            await _call(self._thread, self._member.close)
        finally:
            self._thread.end()

    def partition_of(self, topic: str, key: str) -> Partition | None:
        """Return the partition that holds the events of a key; None if that is not known yet."""
        return self._member.partition_of(topic, key)


async def _call(thread: ClientThread, function: Callable[[], A]) -> A:
    try:
        return await thread.call(function)
    except KafkaError as error:
        raise BrokerError(f"{type(error).__name__}: {error}") from error
