"""Sending to Kafka: a producer of kafka-python, in a thread of its own."""

import asyncio
from collections.abc import Callable
from functools import partial

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from labkit.runtime.messaging.client_thread import ClientThread, settle_soon
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import BrokerError

_ACKNOWLEDGED_S = 10.0  # longer than the client itself may take, for all that it waits for


class ProducerClient:
    """A client that sends messages. After an error it is closed, and a new one made.

    Args:
        client: kafka-python's.
        topic_name: returns the broker's name of a topic.
    """

    def __init__(self, client: KafkaProducer, topic_name: Callable[[str], str]) -> None:
        self._client = client
        self._topic_name = topic_name

    def send(self, message: OutboxMessage) -> FutureRecordMetadata:
        """Hand a message to the client.

        Returns:
            Kafka's future, which ends with the broker's acknowledgement.

        Raises:
            KafkaError: the broker is away for longer than the client waits.
        """
        headers = [("event_id", str(message.event_id).encode()), ("tag", message.tag.encode())]
        if message.trace:
            headers.append(("traceparent", message.trace.encode()))
        return self._client.send(
            self._topic_name(message.topic),
            value=message.body.encode(),
            key=message.key.encode(),
            headers=headers,
        )

    def close(self) -> None:
        """Close the client without waiting for what cannot be sent."""
        self._client.close(timeout=0)


class ThreadedProducer:
    """The port `Producer`, on Kafka.

    Args:
        open_client: makes a client; blocks.
    """

    def __init__(self, open_client: Callable[[], ProducerClient]) -> None:
        self._open_client = open_client
        self._client: ProducerClient | None = None
        self._thread = ClientThread("producer")

    async def send(self, message: OutboxMessage) -> None:
        """Send a message; return when the broker has acknowledged it.

        Raises:
            BrokerError: there was no acknowledgement.
        """
        loop, thread = asyncio.get_running_loop(), self._thread
        acknowledged: asyncio.Future[None] = loop.create_future()
        done = partial(settle_soon, loop, acknowledged, None)
        thread.post(partial(self._hand_over, message, done))
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_S):
                await acknowledged
        except TimeoutError:
            self._abandon(thread)
            raise BrokerError(f"no word of it for {_ACKNOWLEDGED_S:.0f} s") from None
        except KafkaError as error:
            await self._thread.call(self._drop_client)
            raise BrokerError(f"{type(error).__name__}: {error}") from error

    def _hand_over(self, message: OutboxMessage, done: Callable[[Exception | None], None]) -> None:
        """Give a message to the client, in its thread; `done` hears how that ended."""
        try:
            if self._client is None:
                self._client = self._open_client()
            sent = self._client.send(message)
            sent.add_callback(lambda _metadata: done(None))
            sent.add_errback(done)
        except Exception as error:
            done(error)

    def _drop_client(self) -> None:
        """Close a client that failed and may never recover; the next message makes a new one."""
        if self._client:
            self._client.close()
        self._client = None

    def _abandon(self, thread: ClientThread) -> None:
        """Leave a client that says nothing, not even that it failed, alone with its thread.

        A broker that stood still was seen to leave kafka-python so.
        """
        if thread is not self._thread:  # another message has seen to that
            return
        silent, self._client = self._client, None
        self._thread = ClientThread("producer")
        if silent:
            thread.post(silent.close)
        thread.end()
