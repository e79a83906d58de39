"""The message queue: the adapter of the broker's ports on Kafka, or what speaks its protocol.

Nothing in the lab rests on the broker's durability: producers keep their rows until the consumer
groups have theirs. The clients ask for all of it all the same, because what the broker loses comes
late.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from kafka import KafkaConsumer, KafkaProducer

from labkit.runtime.injection import outages
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.kafka_clients import make_client
from labkit.runtime.messaging.kafka_consumer import (
    Member,
    Membership,
    SharingMember,
    ThreadedConsumer,
)
from labkit.runtime.messaging.kafka_producer import ProducerClient, ThreadedProducer
from labkit.runtime.messaging.sharing import Share

logging.getLogger("kafka").setLevel(logging.CRITICAL)
outages.listen_to_the_broker()

_PATIENCE = 5.0  # seconds, and two sessions, that a broker without a disk may take to admit us
#: How long a broker with nothing new holds a fetch. Kafka answers as soon as a record comes. The
#: embedded one looks again after half of that time only, so there consumers are woken (`wakeups`).
#: Of a fetch that may not wait at all it never says where a partition ends.
_WAIT_MS, _EMBEDDED_WAIT_MS = 1000, 6
_RECOVER = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 500, "request_timeout_ms": 3000}


@dataclass(frozen=True)
class BrokerConfig:
    """The properties of a broker, and this lab's part of it.

    Attributes:
        address: `host:port`, or several with commas.
        prefix: put before every topic and group, so that labs can share a broker.
        durable: whether it has a disk. A broker without one forgets its producers with its memory:
            the idempotence of the client would refuse every send from then on, so it is off.
        partitions: of each topic; events of one order are in one of them.
        session: seconds of silence after which a consumer has left its group.
    """

    address: str
    prefix: str
    durable: bool
    partitions: int
    session: float

    def topics(self, group: str, topics: Iterable[str]) -> list[str]:
        """Return the broker's names of topics; each group has dead letters of its own."""
        return [
            self.prefix + (f"{topic}.{group}" if topic == DeadLetter.topic else topic)
            for topic in topics
        ]

    @property
    def common(self) -> dict[str, object]:
        """Return the settings that all clients share."""
        return {"bootstrap_servers": self.address.split(","), **_RECOVER}


class KafkaBroker:
    """The port `Broker`, on Kafka.

    Args:
        config: which broker.
        group: the consumer group, which bears the service's name.
        share: says which partitions are this instance's; None where the broker's groups do that.
        life: tells one life of a broker without a disk from another.
    """

    def __init__(
        self,
        config: BrokerConfig,
        group: str,
        share: Share | None = None,
        life: Callable[[], object] = lambda: None,
    ) -> None:
        self._config = config
        self._group = group
        self._share = share
        self._life = life
        self._lost_groups = 0  # that admit no member any more

    def producer(self) -> ThreadedProducer:
        """Return a way to the broker."""
        return ThreadedProducer(self.open_producer)

    async def join(self, topics: Iterable[str]) -> ThreadedConsumer:
        """Join the consumer group of the service.

        Raises:
            BrokerError: the broker is away, or refuses.
        """
        return await ThreadedConsumer.join(partial(self.open_member, topics))

    def change_group(self) -> None:
        """Let the next consumer join a group of another name, and read all from the beginning.

        Other instances find the old one as it is, and follow. What was handled under the old name
        is known to the inbox: that decides, and never a group.
        """
        self._lost_groups += 1

    def open_producer(self) -> ProducerClient:
        """Make a producer that waits for all replicas; blocks."""
        client = make_client(
            KafkaProducer,
            **self._config.common,
            acks="all",
            enable_idempotence=self._config.durable,
            linger_ms=2,
            max_block_ms=2000,
            delivery_timeout_ms=4000,
        )
        return ProducerClient(client, lambda topic: self._config.topics(self._group, [topic])[0])

    def open_member(self, topics: Iterable[str]) -> Member:
        """Make a member of the group that commits offsets only when it is told to; blocks."""
        session_ms = int(self._config.session * 1000)
        suffix = f".{self._lost_groups}" if self._lost_groups else ""
        client = make_client(
            KafkaConsumer,
            **self._config.common,
            group_id=self._config.prefix + self._group + suffix,
            client_id=f"{self._group}-{os.getpid()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=200,
            fetch_max_wait_ms=_WAIT_MS if self._config.durable else _EMBEDDED_WAIT_MS,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 3,
        )
        names = self._config.topics(self._group, topics)
        if self._share:
            prefix = self._config.prefix
            return SharingMember(client, self._group, prefix, names, self._share, self._life)
        membership = Membership()
        client.subscribe(names, listener=membership)
        patience = math.inf if self._config.durable else _PATIENCE + 2 * self._config.session
        return Member(client, self._group, self._config.prefix, membership, patience)
