"""The consumer's client, where its group is joined anew."""

from contextlib import closing
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.runtime.messaging import kafka as broker_module
from labkit.runtime.messaging import topics
from labkit.runtime.messaging.kafka import KafkaBroker
from labkit.runtime.messaging.kafka_consumer import Membership
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import GroupLost
from labkit.stack.setup.topics import broker_config_of
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


def test_a_topic_that_is_made_later_is_heard_soon(lab: Lab) -> None:
    """A consumer that subscribes before a topic exists, as after a broker lost all, hears of it."""
    config = broker_config_of(lab.home)
    broker, topic = KafkaBroker(config, "early"), "made_later"
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


def test_a_consumer_knows_when_it_has_read_all(lab: Lab) -> None:
    """So it is when it has read everything that was there, and never before.

    The records are more than a poll gives, and in all partitions.
    """
    config, many = broker_config_of(lab.home), 450
    broker, topic = KafkaBroker(config, "counting"), "counted"
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
