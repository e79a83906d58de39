"""Consumers on the embedded broker are woken by who sends, and look by themselves now and then."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.runtime.messaging import topics, wakeups
from labkit.runtime.messaging.kafka import BrokerConfig, KafkaBroker
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import Consumer
from labkit.runtime.messaging.wakeups import WakingBroker
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
from labkit.stack.setup.brokers import broker_config_of

# a client of the broker reads its own schemas in an old way
pytestmark = pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")

TOPIC = "heard_soon"
EVER_S = 3600.0  # a consumer that waits for so long without a wake-up lets the test fail
PATIENCE_S = 60
MESSAGE = OutboxMessage(event_id=1, topic=TOPIC, tag="", key="1", body="{}", groups=("ears",))


@pytest.fixture
def config(lab: Lab) -> BrokerConfig:
    """The lab's broker, with a topic that is new."""
    config = broker_config_of(lab.home)
    topics.make(config, [config.prefix + TOPIC])
    return config


@asynccontextmanager
async def listening(broker: WakingBroker) -> AsyncIterator[Consumer]:
    """A consumer that is a member of its group and has read all that is there."""
    consumer = await broker.join([TOPIC])
    try:
        polled = await consumer.poll(0.2)
        while not polled.assigned or polled.read != polled.assigned:
            polled = await consumer.poll(0.2)
        yield consumer
    finally:
        await consumer.close()


async def announced(folder: Path) -> None:
    """Wait until the group's consumer stands where those look who send."""
    async with asyncio.timeout(PATIENCE_S):
        while not FolderRegistry(folder).instances("ears"):
            await asyncio.sleep(0.01)


async def heard_by(consumer: Consumer, timeout_s: float) -> int:
    """Poll until something comes; return its id."""
    async with asyncio.timeout(PATIENCE_S):
        while not (deliveries := (await consumer.poll(timeout_s)).deliveries):
            pass
    return deliveries[0].event_id


def test_who_sends_wakes_who_waits(config: BrokerConfig, tmp_path: Path) -> None:
    """A consumer that would look by itself only after an hour hears of the message."""

    async def main() -> int:
        broker = WakingBroker(KafkaBroker(config, "ears"), "ears", 1, FolderRegistry(tmp_path))
        mouth = KafkaBroker(config, "mouth")
        producer = WakingBroker(mouth, "mouth", 1, FolderRegistry(tmp_path)).producer()
        async with listening(broker) as consumer:
            await announced(tmp_path)
            hearing = asyncio.ensure_future(heard_by(consumer, EVER_S))
            await asyncio.sleep(0)
            await producer.send(MESSAGE)
            return await hearing

    assert asyncio.run(main()) == MESSAGE.event_id


def test_every_instance_of_a_group_is_woken(config: BrokerConfig, tmp_path: Path) -> None:
    """One of them has the partition, and who sends does not know which; other groups sleep on."""
    with ExitStack() as stack:
        ears = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(3)]
        for instance, (group, ear) in enumerate(zip(("ears", "ears", "deaf"), ears, strict=True)):
            ear.bind(("127.0.0.1", 0))
            ear.settimeout(PATIENCE_S)
            endpoint = "{}:{}".format(*ear.getsockname())
            FolderRegistry(tmp_path).announce(Instance(group, instance, endpoint, 0))
        mouth = WakingBroker(KafkaBroker(config, "mouth"), "mouth", 1, FolderRegistry(tmp_path))

        async def main() -> None:
            await mouth.producer().send(MESSAGE)

        asyncio.run(main())
        assert [ear.recv(1) for ear in ears[:2]] == [b"", b""]
        ears[2].setblocking(False)
        with pytest.raises(BlockingIOError):
            ears[2].recv(1)


def test_a_wake_up_that_is_lost_loses_nothing(config: BrokerConfig, tmp_path: Path) -> None:
    """Who sends knows of nobody who listens: the consumer finds the message by itself."""

    async def main() -> int:
        broker = WakingBroker(KafkaBroker(config, "ears"), "ears", 1, FolderRegistry(tmp_path))
        async with listening(broker) as consumer:
            await KafkaBroker(config, "mouth").producer().send(MESSAGE)
            return await heard_by(consumer, 0.2)

    assert asyncio.run(main()) == MESSAGE.event_id


def test_a_registry_that_is_away_stops_no_consumer(config: BrokerConfig, tmp_path: Path) -> None:
    """It cannot say where it listens, and consumes all the same."""

    async def main() -> int:
        away = FolderRegistry(tmp_path / "not there")
        broker = WakingBroker(KafkaBroker(config, "ears"), "ears", 1, away)
        async with listening(broker) as consumer:
            await broker.producer().send(MESSAGE)
            return await heard_by(consumer, 0.2)

    assert asyncio.run(main()) == MESSAGE.event_id


@pytest.mark.parametrize("text", ["", "[]", '{"endpoint": 7}'])
def test_a_wake_up_that_fails_fails_no_message(
    config: BrokerConfig, tmp_path: Path, text: str
) -> None:
    """The broker has acknowledged it: whatever stands in the registry, it is sent."""
    (tmp_path / "ears.1.json").write_text(text)
    mouth = WakingBroker(KafkaBroker(config, "mouth"), "mouth", 1, FolderRegistry(tmp_path))

    async def main() -> None:
        await mouth.producer().send(MESSAGE)

    asyncio.run(main())


def test_a_consumer_that_could_not_say_where_it_listens_says_it_later(
    config: BrokerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is there again: nobody has to start the process anew."""
    monkeypatch.setattr(wakeups, "_AGAIN_S", 0.05)
    folder = tmp_path / "consumers"

    async def main() -> None:
        broker = WakingBroker(KafkaBroker(config, "ears"), "ears", 1, FolderRegistry(folder))
        async with listening(broker):
            folder.mkdir()
            await announced(folder)

    asyncio.run(main())
