"""A broker that lies: it loses records that it had acknowledged, the newest first.

Kafka does that where a replica that lags behind becomes the leader (unclean leader election), or
where all replicas lose power before they wrote to disk.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from labkit.home import Home
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.kafka_clients import make_client
from labkit.stack.setup.brokers import broker_config_of
from labkit.stack.setup.topics import topics_of
from labkit.waiting import wait_until

_POLL_MS = 100
_MANY = 100_000
_READ_S = 300.0


class Record(Protocol):
    """A record, as Kafka's client returns it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class BrokerLog:
    """All records of a lab that the broker holds, read and written past the shop.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._config = broker_config_of(home)

    @property
    def is_kept(self) -> bool:
        """Return True if the records outlive the broker's process."""
        return self._config.durable

    def read(self) -> list[Record]:
        """Read every record of the lab; those of one partition stand together and in order."""
        client = make_client(
            KafkaConsumer,
            **self._config.common,
            fetch_max_wait_ms=_POLL_MS // 2,
            max_poll_records=_MANY,
        )
        try:
            parts = [
                TopicPartition(topic, part)
                for topic in self._ours(client.topics())
                for part in client.partitions_for_topic(topic)
            ]
            client.assign(parts)
            client.seek_to_beginning(*parts)
            return sorted(
                _to_the_end(client, parts), key=attrgetter("topic", "partition", "offset")
            )
        finally:
            client.close()

    def cut(self, records: Iterable[Record]) -> None:
        """Delete the records of a broker with a disk, up to the last of these."""
        ends = {
            TopicPartition(record.topic, record.partition): record.offset + 1 for record in records
        }
        admin = make_client(KafkaAdminClient, **self._config.common)
        try:
            admin.delete_records(ends)
        finally:
            admin.close()

    def write(self, records: Iterable[Record]) -> None:
        """Write records into their partitions, in the given order."""
        topics.make(self._config, topics_of(self._config))
        client = make_client(KafkaProducer, **self._config.common, enable_idempotence=False)
        try:
            for record in records:
                client.send(
                    record.topic, record.value, record.key, list(record.headers), record.partition
                )
            client.flush()
        finally:
            client.close()

    def _ours(self, names: Iterable[str]) -> list[str]:
        """Return the names with the prefix of this lab, without the broker's own."""
        return [
            name
            for name in names
            if name.startswith(self._config.prefix) and not name.startswith("__")
        ]


def heads(records: Iterable[Record], seed: int) -> list[Record]:
    """Return the records that remain when each partition loses a random tail, at least one."""
    chance, kept = random.Random(seed), list[Record]()
    for _, partition in groupby(records, key=attrgetter("topic", "partition")):
        rows = list(partition)
        kept += rows[: chance.randrange(len(rows))]
    return kept


def _to_the_end(client: KafkaConsumer, parts: list[TopicPartition]) -> list[Record]:
    """Read all records to the end and beyond: a broker may report an end that is too early."""
    ends, records = client.end_offsets(parts), list[Record]()

    def is_at_end() -> bool:
        batches = client.poll(timeout_ms=_POLL_MS)
        records.extend(record for batch in batches.values() for record in batch)
        return not batches and all(client.position(part) >= ends[part] for part in parts)

    wait_until(is_at_end, "all records of the broker are read", _READ_S, poll=0)
    return records
