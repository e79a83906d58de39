"""The message queue: everything that is said to Kafka, or to a broker that speaks its protocol.

Nothing in the lab rests on the broker's durability: producers keep their rows until the
subscribers have theirs. So the producer's own idempotence is off; it would refuse every send after
the embedded broker lost its memory, and duplicates do no harm.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
)

from labkit.runtime.inbox import Delivery
from labkit.runtime.outbox import Parcel

log = logging.getLogger(__name__)
logging.getLogger("kafka").setLevel(logging.CRITICAL)

PARTITIONS = 4
_JOINED_SECONDS = 2.0
_LONGEST = 64  # letters of a key or a tag
BrokerError = KafkaError
_TRACE = 55  # letters of a traceparent
_RECOVER = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 500, "request_timeout_ms": 3000}


class Broker:
    """One broker, as one service process sees it.

    Args:
        address: `host:port`.
        prefix: put before every topic and group, so that labs can share a broker.
        session: seconds of silence after which a consumer has left its group.
    """

    def __init__(self, address: str, prefix: str, session: float) -> None:
        self._common = {"bootstrap_servers": address, **_RECOVER}
        self._prefix = prefix
        self._session_ms = int(session * 1000)

    def make_topics(self, topics: Iterable[str]) -> None:
        """Make topics that are not there (again: a broker that lost its memory lost them too)."""
        admin = KafkaAdminClient(**self._common)
        wanted = {self._prefix + topic: {"num_partitions": PARTITIONS, "replication_factor": 1}
                  for topic in topics}  # fmt: skip
        try:
            for name, options in wanted.items():
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics({name: options}, timeout_ms=5000)
        finally:
            admin.close()

    def producer(self) -> "Producer":
        """A producer that waits for all replicas."""
        return Producer(
            KafkaProducer(
                **self._common, acks="all", enable_idempotence=False, linger_ms=2,
                max_block_ms=2000, delivery_timeout_ms=4000,
            ),
            self._prefix,
        )  # fmt: skip

    def consumer(self, group: str, topics: Iterable[str]) -> "Consumer":
        """A member of a consumer group that commits offsets only when told to."""
        client = KafkaConsumer(
            **self._common, group_id=self._prefix + group, client_id=f"{group}-{os.getpid()}",
            enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=250,
            session_timeout_ms=self._session_ms, heartbeat_interval_ms=self._session_ms // 6,
            max_poll_records=200,
        )  # fmt: skip
        membership = Membership()
        client.subscribe([self._prefix + topic for topic in topics], listener=membership)
        return Consumer(client, group, self._prefix, membership)


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

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def send(self, parcel: Parcel) -> Any:
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
            self._prefix + parcel.topic, value=parcel.body.encode(), key=parcel.key.encode(),
            headers=headers,
        )  # fmt: skip

    def close(self) -> None:
        """Let go without waiting for what cannot be sent."""
        self._client.close(timeout=0)


class Consumer:
    """Reads deliveries of one group; used by one thread."""

    def __init__(self, client: Any, group: str, prefix: str, membership: Membership) -> None:
        self._client = client
        self._membership = membership
        self._group = group
        self._prefix = prefix

    def poll(self, timeout: float) -> Iterator[Delivery]:
        """The next deliveries, in the order of their partitions."""
        batches = self._client.poll(timeout_ms=int(timeout * 1000))
        for record in (record for records in batches.values() for record in records):
            try:
                yield self._delivery(record)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                log.warning("a record is not ours and is passed over: %s: %r", where, error)

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
        while self._membership.joining and time.monotonic() < deadline:
            self._client.poll(timeout_ms=50)  # nothing of it is committed: it comes again
        self._client.close(autocommit=False)

    def _delivery(self, record: Any) -> Delivery:
        headers = dict(record.headers)
        event_id, key, tag = int(headers["event_id"]), record.key.decode(), headers["tag"].decode()
        if not 0 < event_id < 1 << 63 or max(len(key), len(tag)) > _LONGEST:
            raise ValueError("its event id, key or tag fits no inbox")
        return Delivery(
            group=self._group, event_id=event_id, topic=record.topic.removeprefix(self._prefix),
            tag=tag, key=key, body=record.value.decode(),
            trace=_trace(headers.get("traceparent", b"")),
        )  # fmt: skip


def _trace(header: bytes) -> str:
    """A `traceparent` of the length that fits an inbox; what else stands there is no matter."""
    return header.decode("ascii", "replace") if len(header) == _TRACE else ""
