"""The message queue of a lab: which broker, and what the lab has there."""

from contextlib import suppress

from labkit.home import Home
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.kafka import BrokerConfig, KafkaBroker
from labkit.runtime.messaging.ports import Broker
from labkit.runtime.messaging.sharing import Share
from labkit.runtime.messaging.wakeups import WakingBroker
from labkit.runtime.registry.files import FolderRegistry
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.stack.supervisor.instances import BROKER


class BrokerUnusable(Exception):
    """The broker would turn the services away; the message says what to do."""


def broker_config_of(home: Home) -> BrokerConfig:
    """Return the broker of a lab, as its state file names it."""
    state = home.state()
    settings = home.settings()
    return BrokerConfig(
        address=state["endpoints"]["broker"],
        prefix=state["topic_prefix"],
        durable=bool(settings.broker),
        partitions=settings.partitions,
        session=settings.group_session,
    )


def prefix_of(home: Home, generation: int) -> str:
    """Return the prefix of a lab's topics.

    Labs may share a broker that is not theirs, and a reset must not see what was there before.
    """
    return f"labkit-{home.mark}-{generation}-"


def broker_of(home: Home, service: str, instance: int) -> Broker:
    """Return the broker as one instance of a service sees it."""
    config = broker_config_of(home)
    if config.durable:
        return KafkaBroker(config, service)
    consumers, beats = FolderRegistry(home.consumers), home.consumers / f"{service}.beats"
    share = Share(service, instance, consumers, beats, config.session)
    broker = KafkaBroker(config, service, share, _BrokerLife(home))
    return WakingBroker(broker, service, instance, consumers)


class _BrokerLife:
    """The process of the lab's own broker, as the state file names it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._written = 0
        self._pids: list[int | None] = []

    def __call__(self) -> object:
        """Return the process; the last one that is known, where the file cannot be read."""
        with suppress(OSError, ValueError):
            written = self._home.state_file.stat().st_mtime_ns
            if written != self._written:
                services = self._home.state()["services"]
                self._pids = [each["pid"] for each in services if each["name"] == BROKER]
                self._written = written
        return tuple(self._pids)


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
