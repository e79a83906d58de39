"""The consumer's client, when it is of no use any more."""

from contextlib import closing

import pytest
from kafka.future import Future

from labkit.lab import Lab
from labkit.runtime.broker import Broker, Spinning
from labkit.stack.messaging import ground_of
from tests.waiting import until

# a client of the broker reads its own schemas in an old way
pytestmark = pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")


async def _never() -> None:
    await Future()  # of the client's own loop


def test_a_consumer_that_spins_is_told_from_one_that_rests(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat that is never answered has kafka-python poll without a pause: that raises.

    It was seen on a real Kafka, where a service burnt a core until something was sent to it.
    """
    with closing(Broker(ground_of(lab.home), "spinning").consumer(["paid"])) as consumer:
        membership, client = consumer._membership, consumer._client

        def joined() -> bool:
            return not list(consumer.poll(0.2)) and not membership.joining

        until(joined, "it is in its group, and rests", seconds=30)
        for _ in range(30):
            assert list(consumer.poll(0.2)) == []
        monkeypatch.setattr(client._coordinator, "_send_heartbeat_request", _never)
        with pytest.raises(Spinning, match="spinning has not rested"):
            until(lambda: list(consumer.poll(0.2)), "it never rests", seconds=60)
