"""The message queue: everything that is said to Kafka, or to a broker that speaks its protocol.

Nothing in the lab rests on the broker's durability: producers keep their rows until the
subscribers have theirs. It is asked for all that it can give all the same, because what it loses
comes late.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError

from labkit.runtime.injection import outages
from labkit.runtime.messaging.inbox import DeadLetter, Delivery
from labkit.runtime.messaging.kafka_clients import make_client
from labkit.runtime.messaging.outbox import OutboxMessage

log = logging.getLogger(__name__)
logging.getLogger("kafka").setLevel(logging.CRITICAL)
outages.listen_to_the_broker()

_JOINED_SECONDS = 2.0
_PATIENCE = 5.0  # seconds, and two sessions, that a broker without a disk may take to let us in
#: That a broker with nothing new keeps a question: Kafka tells at once what comes meanwhile. The
#: embedded one looks again after half of it: what comes is late by that, and looking costs CPU.
_WAIT_MS, _EMBEDDED_WAIT_MS = 1000, 500
_LONGEST = 64  # letters of a key or a tag
_LARGEST = 8 * 1024  # bytes of a body: as a dead letter it must still fit an outbox
BrokerError = KafkaError
_TRACE = 55  # letters of a traceparent
_RECOVER = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 500, "request_timeout_ms": 3000}


@dataclass(frozen=True)
class Ground:
    """What a broker can do, and where this lab's part of it is.

    Attributes:
        address: `host:port`, or several with commas.
        prefix: put before every topic and group, so that labs can share a broker.
        keeps: whether it has a disk. One that has none forgets its producers with its memory: the
            idempotence of the client would refuse every send from then on, so it is off.
        partitions: of each topic; events of one order are in one of them.
        session: seconds of silence after which a consumer has left its group.
    """

    address: str
    prefix: str
    keeps: bool
    partitions: int
    session: float

    def topics(self, group: str, topics: Iterable[str]) -> list[str]:
        """The names of topics as the broker has them; each group has dead letters of its own."""
        return [
            self.prefix + (f"{topic}.{group}" if topic == DeadLetter.topic else topic)
            for topic in topics
        ]

    @property
    def common(self) -> dict[str, Any]:
        """What every client is told."""
        return {"bootstrap_servers": self.address.split(","), **_RECOVER}


class Broker:
    """One broker, as one service process sees it.

    Args:
        ground: which broker.
        group: the consumer group, which bears the service's name.
    """

    def __init__(self, ground: Ground, group: str) -> None:
        self._ground = ground
        self._group = group
        self._lost = 0  # groups that let nobody in any more

    def producer(self) -> "Producer":
        """A producer that waits for all replicas."""
        client = make_client(
            KafkaProducer,
            **self._ground.common,
            acks="all",
            enable_idempotence=self._ground.keeps,
            linger_ms=2,
            max_block_ms=2000,
            delivery_timeout_ms=4000,
        )
        return Producer(client, lambda topic: self._ground.topics(self._group, [topic])[0])

    def consumer(self, topics: Iterable[str]) -> "Consumer":
        """A member of the group that commits offsets only when told to."""
        session_ms = int(self._ground.session * 1000)
        group = self._ground.prefix + self._group + (f".{self._lost}" if self._lost else "")
        client = make_client(
            KafkaConsumer,
            **self._ground.common,
            group_id=group,
            client_id=f"{self._group}-{os.getpid()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=200,
            fetch_max_wait_ms=_WAIT_MS if self._ground.keeps else _EMBEDDED_WAIT_MS,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 3,
        )
        membership = Membership()
        client.subscribe(self._ground.topics(self._group, topics), listener=membership)
        patience = math.inf if self._ground.keeps else _PATIENCE + 2 * self._ground.session
        return Consumer(client, self._group, self._ground.prefix, membership, patience)

    def change_group(self) -> None:
        """Have the next consumer join a group of another name, from its beginning.

        Other instances find the old one as it is, and come after. What was handled under the old
        name is known to the inbox: it decides, and never a group.
        """
        self._lost += 1


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Whether a consumer is a settled member of its group, or still joins it (again)."""

    joining = True

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002  # the client's interface
        """The group hands its partitions round anew."""
        self.joining = True

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002  # the same
        """The group has settled, perhaps with nothing for us."""
        self.joining = False


class Producer:
    """Sends parcels. After an error it is closed and a new one made."""

    def __init__(self, client: Any, named: Callable[[str], str]) -> None:
        self._client = client
        self._named = named

    def send(self, parcel: OutboxMessage) -> Any:
        """Hand a parcel to the client.

        Returns:
            Kafka's future, which ends with the broker's acknowledgement.

        Raises:
            BrokerError: the broker is away for longer than the client waits.
        """
        headers = [("event_id", str(parcel.event_id).encode()), ("tag", parcel.tag.encode())]
        if parcel.trace:
            headers.append(("traceparent", parcel.trace.encode()))
        return self._client.send(
            self._named(parcel.topic),
            value=parcel.body.encode(),
            key=parcel.key.encode(),
            headers=headers,
        )

    def close(self) -> None:
        """Let go without waiting for what cannot be sent."""
        self._client.close(timeout=0)


class GroupLost(KafkaError):  # type: ignore[misc]  # kafka-python has no types
    """A group lets nobody in any more.

    The embedded broker waits for ever for a member that went while it joined, as where the broker
    itself was away for a moment. A Kafka forgets such a member when its session ends.
    """


class Consumer:
    """Reads deliveries of one group; used by one thread.

    Args:
        client: kafka-python's.
        group: of the deliveries.
        prefix: of the lab's topics.
        membership: in its group.
        patience: seconds that joining may take.
    """

    def __init__(
        self, client: Any, group: str, prefix: str, membership: Membership, patience: float
    ) -> None:
        self._client = client
        self._membership = membership
        self._group = group
        self._prefix = prefix
        self._patience = patience
        self._member_at = time.monotonic()

    def poll(self, timeout: float) -> Iterator[Delivery]:
        """The next deliveries, in the order of their partitions.

        Raises:
            GroupLost: for too long the group has not let us in.
        """
        for record in (record for records in self._ask(timeout).values() for record in records):
            try:
                yield self._delivery(record)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                log.warning("a record is not ours and is passed over: %s: %r", where, error)

    def _ask(self, timeout: float) -> Any:
        """Poll, and have a join of the group that takes longer than that go on with the next.

        kafka-python 3.0 forgets why it joins again where it learnt of partitions and leads the
        group: a poll that ends while it hands them round is its last word. Neither a member nor
        joining, it would burn a core and hear nothing.
        """
        batches = self._client.poll(timeout_ms=int(timeout * 1000))
        if not self._membership.joining:
            self._member_at = time.monotonic()
        elif time.monotonic() - self._member_at > self._patience:
            raise GroupLost(f"the group of {self._group} lets nobody in")
        else:
            self._client._coordinator.request_rejoin()  # there is no public way
        return batches

    @property
    def has_joined(self) -> bool:
        """Whether it is a member of its group."""
        return not self._membership.joining

    def has_read_all(self) -> bool:
        """Return True if the last poll read all that the broker had; so it is where there is none.

        The broker tells with what it gives where a partition ends; before that nobody knows.
        """
        if not self.has_joined:
            return True
        parts = [(part, self._client.highwater(part)) for part in self._client.assignment()]
        return all(
            end is not None and (self._client.position(part, timeout_ms=0) or 0) >= end
            for part, end in parts
        )

    def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of.

        Where the partitions are being handed round, others will read it again: the inbox knows it.
        """
        with suppress(CommitFailedError, RebalanceInProgressError):
            self._client.commit()

    def close(self) -> None:
        """Leave the group, but not while joining it.

        The embedded broker may make who leaves then the leader of the group, for whom the others
        wait for ever.
        """
        deadline = time.monotonic() + _JOINED_SECONDS
        try:
            while self._membership.joining and time.monotonic() < deadline:
                self._ask(0.05)  # nothing of it is committed: it comes again
        finally:
            self._client.close(autocommit=False)

    def _delivery(self, record: Any) -> Delivery:
        headers = dict(record.headers)
        event_id, key, tag = int(headers["event_id"]), record.key.decode(), headers["tag"].decode()
        if not 0 < event_id < 1 << 63 or max(len(key), len(tag)) > _LONGEST:
            raise ValueError("its event id, key or tag fits no inbox")
        if len(record.value) > _LARGEST:
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


def _trace(header: bytes) -> str:
    """A `traceparent` of the length that fits an inbox; what else stands there is no matter."""
    return header.decode("ascii", "replace") if len(header) == _TRACE else ""
