"""A broker that lies: it forgets records that it had acknowledged, the newest first.

Kafka does that where a replica that lags behind becomes the leader (unclean leader election), or
where all replicas lose power before they wrote to disk.
"""

import random
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from labkit.runtime.broker import PARTITIONS, Broker
from labkit.shop.wiring import GROUPS

_POLL_MS = 100
_MANY = 100_000
_SESSION_SECONDS = 3.0


class BrokerLog:
    """Everything that the lab's own broker holds, read and written past the shop.

    Args:
        address: of the broker, `host:port`.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def read(self) -> list[Any]:
        """Every record of the lab's topics, those of one partition together and in their order."""
        client = KafkaConsumer(
            bootstrap_servers=self._address, fetch_max_wait_ms=_POLL_MS // 2, max_poll_records=_MANY
        )
        parts = [TopicPartition(topic, part) for topic in GROUPS for part in range(PARTITIONS)]
        try:
            client.assign(parts)
            client.seek_to_beginning(*parts)
            return sorted(
                _to_the_end(client, parts), key=attrgetter("topic", "partition", "offset")
            )
        finally:
            client.close()

    def write(self, records: Iterable[Any]) -> None:
        """Put records into their partitions, in the order given."""
        Broker(self._address, "", _SESSION_SECONDS).make_topics(GROUPS)
        client = KafkaProducer(bootstrap_servers=self._address, enable_idempotence=False)
        try:
            for one in records:
                client.send(one.topic, one.value, one.key, list(one.headers), one.partition)
            client.flush()
        finally:
            client.close()


def heads(records: Iterable[Any], seed: int) -> list[Any]:
    """What is left when each partition loses a random tail, of one record at least."""
    chance, kept = random.Random(seed), list[Any]()
    for _, partition in groupby(records, key=attrgetter("topic", "partition")):
        rows = list(partition)
        kept += rows[: chance.randrange(len(rows))]
    return kept


def _to_the_end(client: KafkaConsumer, parts: list[TopicPartition]) -> list[Any]:
    """All records up to the end, and what is behind it: a broker may name too early an end."""
    ends, found = client.end_offsets(parts), list[Any]()
    while True:
        batches = client.poll(timeout_ms=_POLL_MS)
        if not batches and all(client.position(one) >= ends[one] for one in parts):
            return found
        found += [record for records in batches.values() for record in records]
