"""The topics of a lab at its broker."""

from labkit.home import Home
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.kafka import BrokerConfig
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.stack.setup.brokers import broker_config_of


class BrokerUnusable(Exception):
    """The broker would turn the services away; the message says what to do."""


def topics_of(config: BrokerConfig) -> list[str]:
    """Return all topics of a lab, by the names that the broker has."""
    shared = [topic for topic in GROUPS if topic != DeadLetter.topic]
    own = [
        name
        for service in SERVICES.values()
        if service.handlers
        for name in config.topics(service.name, [DeadLetter.topic])
    ]
    return [*config.topics("", shared), *own]


def make_topics(home: Home) -> None:
    """Make all topics of the wiring at the lab's broker.

    Raises:
        BrokerUnusable: consumers cannot join a group there with the session of the settings.
        KafkaError: the broker is away, or refuses.
    """
    config = broker_config_of(home)
    least = topics.shortest_session(config) if config.durable else None
    if least and config.session < least:
        raise BrokerUnusable(
            f"Kafka at {config.address} lets no consumer in whose session is shorter than "
            f"{least:g} s: set LABKIT_GROUP_SESSION={least:g}, "
            "or group.min.session.timeout.ms at the broker"
        )
    topics.make(config, topics_of(config))


def remove_topics(home: Home) -> None:
    """Remove all topics of the wiring, with what they hold."""
    config = broker_config_of(home)
    topics.remove(config, topics_of(config))
