"""Waking consumers: a producer tells the groups of a message that the broker has it for them.

Kafka answers a fetch that waits as soon as a record comes. The embedded broker looks again only
after half of the time that the fetch may wait: records would be late by a quarter of a second, or
everybody would have to ask all the time. So a consumer there asks at once when it is woken, and a
few times a second by itself: a wake-up is a hint, and where it gets lost, a message comes later.

A wake-up is an empty datagram on the loopback. Who listens stands in a registry of its own.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import Broker, Consumer, Partition, Polled, Producer
from labkit.runtime.registry.ports import Instance, Registry
from labkit.runtime.rpc.address import host_and_port

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
#: How long the broker may take to answer who was woken, and who asks by itself.
_WOKEN_S, _IDLE_S = 0.015, 0.002
#: How old the list of those who listen may be.
_LISTENERS_MAX_AGE_S = 1.0
_AGAIN_S = 5.0  # after which an announcement that failed is tried again


class WakingBroker:
    """The port `Broker`: another one, with wake-ups.

    Args:
        broker: the other one, which lets no fetch wait.
        group: of the consumers, which bears the service's name.
        instance: the number of the process among those of its service.
        listeners: says who listens for which group.
    """

    def __init__(self, broker: Broker, group: str, instance: int, listeners: Registry) -> None:
        self._broker = broker
        self._group = group
        self._instance = instance
        self._listeners = listeners
        self._ear: _Ear | None = None

    def producer(self) -> Producer:
        """Return a way to the broker."""
        return _WakingProducer(self._broker.producer(), self._listeners)

    async def join(self, topics: Iterable[str]) -> Consumer:
        """Join the consumer group of the service.

        Raises:
            BrokerError: the broker is away, or refuses.
        """
        if self._ear is None:
            self._ear = await _Ear.open()
            self._announcing = asyncio.ensure_future(self._announce(self._ear))
        self._ear.woken.set()
        return _WokenConsumer(await self._broker.join(topics), self._ear.woken)

    def change_group(self) -> None:
        """Let the next consumer join a group of another name."""
        self._broker.change_group()

    async def _announce(self, ear: "_Ear") -> None:
        """Say where this process listens, until it dies; a consumer works without that too."""
        here = Instance(self._group, self._instance, ear.endpoint, os.getpid())
        while True:
            try:
                return await asyncio.to_thread(self._listeners.announce, here)
            except (OSError, RuntimeError) as error:
                log.warning("nobody wakes the consumer of %s: %s", self._group, error)
            await asyncio.sleep(_AGAIN_S)


class _Ear(asyncio.DatagramProtocol):
    """Hears wake-ups, for as long as its process lives.

    Attributes:
        endpoint: where it listens, `host:port`.
        woken: set when there is something.
    """

    endpoint = ""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    @classmethod
    async def open(cls) -> "_Ear":
        """Listen at a free port of the loopback."""
        loop = asyncio.get_running_loop()
        transport, ear = await loop.create_datagram_endpoint(cls, local_addr=(_LOOPBACK, 0))
        _, port = transport.get_extra_info("sockname")
        ear.endpoint = f"{_LOOPBACK}:{port}"
        return ear

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002  # the loop's
        """Note that there is something; the loop calls this."""
        self.woken.set()


class _WakingProducer:
    """The port `Producer`: wakes the groups of a message that the broker has acknowledged."""

    def __init__(self, producer: Producer, listeners: Registry) -> None:
        self._producer = producer
        self._listeners = listeners
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def send(self, message: OutboxMessage) -> None:
        """Send a message; return when the broker has acknowledged it.

        Raises:
            BrokerError: there was no acknowledgement.
        """
        await self._producer.send(message)
        try:
            self._wake(message.groups)
        except Exception as error:  # whatever it was: the broker has the message
            log.warning("those who consume %s look by themselves: %r", message.topic, error)

    def _wake(self, groups: Iterable[str]) -> None:
        for group in groups:
            for listener in self._listeners.instances(group, _LISTENERS_MAX_AGE_S):
                with suppress(OSError):  # then it asks by itself
                    self._socket.sendto(b"", host_and_port(listener.endpoint))


class _WokenConsumer:
    """The port `Consumer`: asks the broker when it is woken, or was not for a while."""

    def __init__(self, consumer: Consumer, woken: asyncio.Event) -> None:
        self._consumer = consumer
        self._woken = woken
        self._is_member = False  # joining, which takes longer than an answer

    async def poll(self, timeout_s: float) -> Polled:
        """Wait for events, and return those that came."""
        polled = await self._consumer.poll(await self._wait(timeout_s))
        self._is_member = bool(polled.assigned)
        if polled.deliveries and polled.read != polled.assigned:  # there may be more
            self._woken.set()
        return polled

    async def _wait(self, timeout_s: float) -> float:
        """Wait until there is something, or to look anyway; return how long an answer may take."""
        if not self._is_member:
            return timeout_s
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), timeout_s)
        is_woken = self._woken.is_set()
        self._woken.clear()
        return _WOKEN_S if is_woken else _IDLE_S

    async def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of."""
        await self._consumer.commit()

    async def close(self) -> None:
        """Leave the group."""
        await self._consumer.close()

    def partition_of(self, topic: str, key: str) -> Partition | None:
        """Return the partition that holds the events of a key; None if that is not known yet."""
        return self._consumer.partition_of(topic, key)
