"""The message queue of a lab: which broker, and what the lab has there."""

from labkit.home import Home
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.kafka import Ground, KafkaBroker
from labkit.shop.wiring import GROUPS, SERVICES


class BrokerUnusable(Exception):
    """The broker would turn the services away; the message says what to do."""


def ground_of(home: Home) -> Ground:
    """Return the broker of a lab, as its state file names it."""
    state = home.state()
    settings = home.settings()
    return Ground(
        address=state["endpoints"]["broker"],
        prefix=state["topic_prefix"],
        keeps=bool(settings.broker),
        partitions=settings.partitions,
        session=settings.group_session,
    )


def prefix_of(home: Home, generation: int) -> str:
    """Return the prefix of a lab's topics.

    Labs may share a broker that is not theirs, and a reset must not see what was there before.
    """
    return f"labkit-{home.mark}-{generation}-"


def broker_of(home: Home, service: str) -> KafkaBroker:
    """Return the broker as one service sees it."""
    return KafkaBroker(ground_of(home), service)


def topics_of(ground: Ground) -> list[str]:
    """Return all topics of a lab, by the names that the broker has."""
    shared = [topic for topic in GROUPS if topic != DeadLetter.topic]
    own = [
        name
        for service in SERVICES.values()
        if service.handlers
        for name in ground.topics(service.name, [DeadLetter.topic])
    ]
    return [*ground.topics("", shared), *own]


def make_topics(home: Home) -> None:
    """Make all topics of the wiring at the lab's broker.

    Raises:
        BrokerUnusable: consumers cannot join a group there with the session of the settings.
        KafkaError: the broker is away, or refuses.
    """
    ground = ground_of(home)
    least = topics.shortest_session(ground) if ground.keeps else None
    if least and ground.session < least:
        raise BrokerUnusable(
            f"Kafka at {ground.address} lets no consumer in whose session is shorter than "
            f"{least:g} s: set LABKIT_GROUP_SESSION={least:g}, "
            "or group.min.session.timeout.ms at the broker"
        )
    topics.make(ground, topics_of(ground))


def remove_topics(home: Home) -> None:
    """Remove all topics of the wiring, with what they hold."""
    ground = ground_of(home)
    topics.remove(ground, topics_of(ground))
