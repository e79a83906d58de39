"""The topics of a lab: created at its start and where a broker forgot them, removed at a reset."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from labkit.runtime.messaging.kafka import BrokerConfig
from labkit.runtime.messaging.kafka_clients import make_client

_TIMEOUT_MS = 5000
_BOOTSTRAP_MS = 30_000  # a broker that is just starting
_SHORTEST = "group.min.session.timeout.ms"
_RETENTION_MS = 7 * 24 * 3600 * 1000
#: What the embedded broker has; a real one says itself how many copies it keeps.
_ONE_COPY, _AS_THE_BROKER_SAYS = 1, -1


def make(config: BrokerConfig, names: Iterable[str]) -> None:
    """Create the topics that are missing.

    Args:
        config: the broker.
        names: as the broker has them.

    Raises:
        KafkaError: the broker is away, or refuses.
    """
    options = {
        "num_partitions": config.partitions,
        "replication_factor": _AS_THE_BROKER_SAYS if config.durable else _ONE_COPY,
        "configs": {"retention.ms": str(_RETENTION_MS)},
    }
    with _admin(config) as admin:
        for name in names:
            with suppress(TopicAlreadyExistsError):
                admin.create_topics({name: options}, timeout_ms=_TIMEOUT_MS)


def remove(config: BrokerConfig, names: Iterable[str]) -> None:
    """Remove topics; a broker that is away, or does not let us, keeps them."""
    with suppress(KafkaError), _admin(config) as admin:
        for name in names:
            with suppress(UnknownTopicOrPartitionError):
                admin.delete_topics([name], timeout_ms=_TIMEOUT_MS)


def shortest_session(config: BrokerConfig) -> float | None:
    """Return the shortest session in seconds that a broker grants; None if it does not say."""
    with suppress(KafkaError, LookupError), _admin(config) as admin:
        broker_id = str(admin.describe_cluster()["brokers"][0]["broker_id"])
        query = ConfigResource(ConfigResourceType.BROKER, broker_id, configs={_SHORTEST: None})
        configs = admin.describe_configs([query], config_filter="All")["broker"][broker_id]
        return int(configs[_SHORTEST]["value"]) / 1000
    return None


@contextmanager
def _admin(config: BrokerConfig) -> Iterator[KafkaAdminClient]:
    admin = make_client(KafkaAdminClient, **config.common, bootstrap_timeout_ms=_BOOTSTRAP_MS)
    try:
        yield admin
    finally:
        admin.close()
