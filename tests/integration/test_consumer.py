"""The consumer's client, where its group is joined anew."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.runtime.messaging import kafka as broker_module
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.kafka import KafkaBroker
from labkit.runtime.messaging.kafka_consumer import Membership
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import GroupLost
from labkit.runtime.messaging.sharing import Share
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
from labkit.stack.setup.brokers import broker_config_of
from labkit.waiting import wait_until

# a client of the broker reads its own schemas in an old way
pytestmark = pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")


def test_a_join_that_takes_longer_than_a_poll_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that joins again because it learnt of partitions is a member soon, and hears.

    On a real Kafka one in fifty consumers was seen to burn a core instead, out of its group.
    """
    with closing(
        KafkaBroker(broker_config_of(lab.home), "joining").open_member(["paid"])
    ) as consumer:
        coordinator, membership = consumer._client._coordinator, consumer._membership

        def joined() -> bool:
            return not consumer.poll(0.2).deliveries and not membership.joining

        wait_until(joined, "it is in its group", timeout=30)
        join, joins = coordinator._do_join_and_sync_async, []

        async def slowly() -> Any:
            joins.append(coordinator.rejoin_needed)
            answer = await join()
            await consumer._client._net.sleep(0.6)
            return answer

        monkeypatch.setattr(coordinator, "_do_join_and_sync_async", slowly)
        coordinator._assignment_snapshot = {}  # as if there were other partitions than it knew
        wait_until(lambda: joins or joined(), "it joins again", timeout=30)
        assert joins == [False]  # for no reason that it remembers
        assert membership.joining
        wait_until(joined, "it is in its group again", timeout=30)


@pytest.fixture(params=["in a group", "by agreement"])
def consumer_of(
    request: pytest.FixtureRequest, lab: Lab, tmp_path: Path
) -> Callable[[str], KafkaBroker]:
    """A broker for a consumer of this name, whose partitions are handed out in either way."""

    def broker_of(name: str) -> KafkaBroker:
        registry = FolderRegistry(tmp_path)
        share = Share(name, 1, registry, tmp_path / f"{name}.beats", 3.0)
        config = broker_config_of(lab.home)
        return KafkaBroker(config, name, share if request.param == "by agreement" else None)

    return broker_of


def test_a_topic_that_is_made_later_is_heard_soon(
    lab: Lab, consumer_of: Callable[[str], KafkaBroker]
) -> None:
    """A consumer that subscribes before a topic exists, as after a broker lost all, hears of it."""
    config = broker_config_of(lab.home)
    broker, topic = consumer_of("early"), "made_later"
    with (
        closing(broker.open_member(["paid", topic])) as consumer,
        closing(broker.open_producer()) as producer,
    ):
        wait_until(lambda: consumer.poll(0.2).assigned, "it joins")
        topics.make(config, [config.prefix + topic])
        producer.send(OutboxMessage(event_id=1, topic=topic, tag="", key="1", body="{}")).get(10)
        (delivery,) = wait_until(lambda: consumer.poll(0.2).deliveries, "it hears", timeout=30)
    topics.remove(config, [config.prefix + topic])
    assert (delivery.topic, delivery.event_id) == (topic, 1)


def test_a_consumer_knows_when_it_has_read_all(
    lab: Lab, consumer_of: Callable[[str], KafkaBroker]
) -> None:
    """So it is when it has read everything that was there, and never before.

    The records are more than a poll gives, and in all partitions.
    """
    config, many = broker_config_of(lab.home), 450
    broker, topic = consumer_of("counting"), "counted"
    topics.make(config, [config.prefix + topic])
    with closing(broker.open_producer()) as producer:
        messages = [
            OutboxMessage(event_id=number, topic=topic, tag="", key=str(number), body="{}")
            for number in range(1, many + 1)
        ]
        for sent in [producer.send(message) for message in messages]:
            sent.get(10)
    with closing(broker.open_member([topic])) as consumer:
        heard, counts = set[int](), list[int]()

        def has_read_all() -> bool:
            polled = consumer.poll(0.2)
            heard.update(delivery.event_id for delivery in polled.deliveries)
            if polled.assigned and polled.read == polled.assigned:
                counts.append(len(heard))
            return bool(counts)

        wait_until(has_read_all, "it has read all", timeout=60)
    topics.remove(config, [config.prefix + topic])
    assert counts == [many]


def test_a_group_that_lets_nobody_in_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a join never ends, that is said; under another name the group hears all from the start.

    Seen where the embedded broker was killed and back while consumers joined: they were deaf.
    """
    config = broker_config_of(lab.home)
    broker, topic = KafkaBroker(config, "wedged"), "heard_by_nobody_else"
    topics.make(config, [config.prefix + topic])
    monkeypatch.setattr(broker_module, "_PATIENCE", 1.0)
    with closing(broker.open_producer()) as producer:
        producer.send(OutboxMessage(event_id=7, topic=topic, tag="", key="1", body="{}")).get(10)
    with closing(broker.open_member([topic])) as consumer:

        async def never() -> Any:
            await consumer._client._net.sleep(3600)

        monkeypatch.setattr(consumer._client._coordinator, "_do_join_and_sync_async", never)
        with pytest.raises(GroupLost, match="the group of wedged lets nobody in"):
            wait_until(lambda: consumer.poll(0.2).deliveries, "it gives up", timeout=30)
        monkeypatch.setattr(consumer, "_membership", Membership())
        consumer._membership.joining = False  # so that closing waits for nothing
    broker.change_group()
    with closing(broker.open_member([topic])) as consumer:
        deliveries = wait_until(lambda: consumer.poll(0.2).deliveries, "it hears", timeout=30)
    topics.remove(config, [config.prefix + topic])
    assert [(delivery.group, delivery.event_id) for delivery in deliveries] == [("wedged", 7)]


def test_two_that_share_hear_everything(lab: Lab, tmp_path: Path) -> None:
    """Each instance reads its part; when one goes, the other reads on where it had committed."""
    config, topic = broker_config_of(lab.home), "shared"
    topics.make(config, [config.prefix + topic])
    with ExitStack() as stack:
        producer = stack.enter_context(closing(KafkaBroker(config, "mouth").open_producer()))
        members, registries = {}, {}
        for instance in (1, 2):
            registries[instance] = registry = FolderRegistry(tmp_path)
            registry.announce(Instance("ears", instance, "127.0.0.1:1", 1))
            share = Share("ears", instance, registry, tmp_path / "ears.beats", 30.0)
            members[instance] = KafkaBroker(config, "ears", share).open_member([topic])
            stack.enter_context(closing(members[instance]))

        def send(numbers: range) -> None:
            for number in numbers:
                message = OutboxMessage(number, topic, "", str(number), "{}")
                producer.send(message).get(10)

        def hear(wanted: range, *instances: int) -> dict[int, set[int]]:
            heard: dict[int, set[int]] = {instance: set() for instance in instances}

            def all_heard() -> bool:
                for instance in instances:
                    polled = members[instance].poll(0.05)
                    heard[instance] |= {delivery.event_id for delivery in polled.deliveries}
                return set().union(*heard.values()) == set(wanted)

            wait_until(all_heard, "everything is heard", timeout=30)
            for instance in instances:
                members[instance].commit()
            return heard

        send(first := range(1, 41))
        heard = hear(first, 1, 2)
        assert heard[1]
        assert heard[2]
        assert not heard[1] & heard[2]
        registries[2].withdraw("ears", 2)
        send(second := range(41, 81))
        assert hear(second, 1) == {1: set(second)}
    topics.remove(config, [config.prefix + topic])


def test_a_broker_that_has_forgotten_all_is_read_from_its_beginning(
    lab: Lab, tmp_path: Path
) -> None:
    """The place that was reached lies behind the end of the new log, and nobody says so."""
    config, topic = broker_config_of(lab.home), "forgotten"
    share = Share("ears", 1, FolderRegistry(tmp_path), tmp_path / "ears.beats", 3.0)
    broker = KafkaBroker(config, "ears", share)
    topics.make(config, [config.prefix + topic])
    with closing(broker.open_producer()) as producer, closing(broker.open_member([topic])) as ears:
        for number in range(1, 6):
            producer.send(OutboxMessage(number, topic, "", "1", "{}")).get(10)
        heard: set[int] = set()

        def hears(number: int) -> bool:
            heard.update(delivery.event_id for delivery in ears.poll(0.05).deliveries)
            return number in heard

        wait_until(lambda: hears(5), "it hears the first ones", timeout=30)
        ears.commit()
        topics.remove(config, [config.prefix + topic])
        topics.make(config, [config.prefix + topic])
        producer.send(OutboxMessage(6, topic, "", "1", "{}")).get(10)
        wait_until(lambda: hears(6), "it hears the one after", timeout=30)
    topics.remove(config, [config.prefix + topic])
