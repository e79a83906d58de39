"""Kafka loses messages that it had acknowledged: they come again from where they were committed."""

from contextlib import ExitStack

import pytest
from kafka import KafkaConsumer, TopicPartition

from labkit.lab import Lab
from labkit.stack.setup.brokers import broker_config_of
from labkit.waiting import wait_until
from tests.support.containers.loading import acknowledged, cancel, goes_on, load
from tests.support.containers.stacks import Backend
from tests.support.history import History
from tests.support.storyline import placed

pytestmark = pytest.mark.timeout(900)


def ends(lab: Lab, topic: str) -> dict[int, int]:
    """Partition → how many records of a topic Kafka says it was given."""
    config = broker_config_of(lab.home)
    client = KafkaConsumer(**config.common)
    parts = [TopicPartition(config.prefix + topic, number) for number in range(config.partitions)]
    try:
        return {part.partition: end for part, end in client.end_offsets(parts).items()}
    finally:
        client.close()


CUT = """
for log in "$0/$1"*/*.log; do
    truncate -s $(( $(stat -c %s "$log") / 2 )) "$log"
done
"""


def test_kafka_loses_the_end_of_its_log(
    lab: Lab, history: History, servers: dict[str, Backend]
) -> None:
    """It had acknowledged messages, and goes back to before them, as a machine does that lost
    power: they come again from where they were committed."""
    kafka, prefix = servers["kafka"], broker_config_of(lab.home).prefix
    mine = [placed(history, money_paid=1) for _ in range(12)]
    with ExitStack() as still, load(history) as ordered:
        still.enter_context(lab.faults.paused("goods"))  # it takes nothing before the end is gone
        for payment in mine:
            cancel(history, payment)
        acknowledged(history)
        with lab.faults.paused("order"):  # and nothing new comes
            before = ends(lab, "order_cancel")
            kafka.kill()
            kafka.run_beside(CUT, prefix)
            kafka.start()
            after = wait_until(lambda: ends(lab, "order_cancel"), "Kafka answers")
        still.close()
        goes_on(ordered)
        cancel(history, placed(history, money_paid=1))
    print("records of order_cancel, by partition:", before, "and then", after)
    assert sum(after.values()) < sum(before.values())


def test_kafka_forgets_all_it_holds(lab: Lab, history: History) -> None:
    """Records that were acknowledged are deleted at the broker, the newest too, under load."""
    with load(history) as ordered:
        for _ in range(2):
            cancel(history, placed(history, money_paid=1))
            acknowledged(history)
            assert lab.faults.lose_broker() > 0
            goes_on(ordered)
