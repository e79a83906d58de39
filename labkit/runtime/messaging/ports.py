"""Ports: what consuming, sending and auditing await, whatever stands behind it.

Kafka with its threads stands behind the broker's ports (`kafka.py`). Logic that awaits nothing but
these runs unchanged on a simulated broker, under a scheduler of its own.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.steps import Step

A = TypeVar("A")
C = TypeVar("C")


class BrokerError(Exception):
    """The broker is away, or refuses."""


class GroupLost(BrokerError):
    """A group admits no member any more."""


#: A topic, and the number of one of its partitions.
Partition = tuple[str, int]


@dataclass(frozen=True)
class Polled:
    """One answer of the broker to a member of a group.

    Attributes:
        deliveries: the next events, in the order of their partitions.
        assigned: the partitions that the group has given to this member; none while it joins.
        read: those of them that this poll read to their ends.
    """

    deliveries: list[Delivery]
    assigned: frozenset[Partition]
    read: frozenset[Partition]


class Consumer(Protocol):
    """A member of a consumer group."""

    async def poll(self, timeout_s: float) -> Polled:
        """Wait for events, and return those that came.

        Raises:
            GroupLost: the group does not admit this member.
            BrokerError: the broker is away, or refuses.
        """
        ...

    async def commit(self) -> None:
        """Tell the broker that all that was polled is taken care of."""
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...

    def partition_of(self, topic: str, key: str) -> Partition | None:
        """Return the partition that holds the events of a key; None if that is not known yet."""
        ...


class Producer(Protocol):
    """The way to the broker."""

    async def send(self, message: OutboxMessage) -> None:
        """Send a message; return when the broker has acknowledged it.

        Raises:
            BrokerError: there was no acknowledgement. The broker may have the message all the same.
        """
        ...


class Broker(Protocol):
    """One broker, as one service process sees it."""

    def producer(self) -> Producer:
        """Return a way to the broker."""
        ...

    async def join(self, topics: Iterable[str]) -> Consumer:
        """Join the consumer group of the service.

        Raises:
            BrokerError: the broker is away, or refuses.
        """
        ...

    def change_group(self) -> None:
        """Let the next consumer join a group of another name, and read all from the beginning."""
        ...


class StepRunner(Protocol):
    """The database of a service, which runs steps and commits them."""

    async def run(self, step: Step[C, A], command: C) -> A:
        """Run a step, and return its answer after the commit.

        Raises:
            Overloaded: too many steps wait already.
        """
        ...

    def ask(
        self,
        step: Step[C, A],
        command: C,
        expires: float = float("inf"),
        *,
        behind_writes: bool = False,
        bounded: bool = True,
    ) -> "asyncio.Future[A]":
        """Queue a step to be run and committed.

        Args:
            step: the step.
            command: the command that it is run with.
            expires: when nobody waits for it any more (monotonic clock); then it is not begun.
            behind_writes: whether a step that only reads waits for all writes that were queued
                before, and sees them; if nothing can be written, it has no answer.
            bounded: whether it is refused where too many steps wait: not where its caller bounds
                itself.

        Returns:
            A future of the step's answer, after the commit. It may raise what the step raised,
            `OperationalError` if the database is away, full, or locked for too long, `RowHeld`
            if somebody holds a row for too long, and `Refused` if a failpoint refused a step that
            has no code for that.

        Raises:
            Overloaded: too many steps wait already.
        """
        ...
