"""The admin service that each service has: for the runtime of the others, and for people."""

from typing import Protocol

from labkit.results import Message, Result
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.forgetting import Held, HeldQuery
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.messaging.reading import LostQuery, Reading


class AskAround(Message):
    """The question whether every service answers that this one calls."""


class Edge(Message):
    """A call from one service to another, tried just now.

    Attributes:
        callee: the service that was asked.
        error: why there was no answer; empty if there was one.
    """

    callee: str
    error: str = ""


class AdminService(Protocol):
    """Served by every service that has a database."""

    async def find_missing(self, query: MissingQuery) -> Missing:
        """Find the messages that the group does not have in its inbox."""
        ...

    async def find_lost(self, query: LostQuery) -> Reading:
        """Find those that it lacks behind all that it has begun, and say how far it has read."""
        ...

    async def find_held(self, query: HeldQuery) -> Held:
        """Find the events that the outbox still holds; what it lacks was settled, or never sent."""
        ...

    async def retry(self, item: StuckItem) -> Result[None]:
        """Try an item that waits, or was given up, again now."""
        ...

    async def give_up(self, item: StuckItem) -> Result[None]:
        """Stop trying an item that waits: it becomes a dead letter, with its cause."""
        ...

    async def take_back(self, item: StuckItem) -> Result[None]:
        """Let the service try a dead letter again by itself, as if it had come now."""
        ...

    async def ask_around(self, query: AskAround) -> tuple[Edge, ...]:
        """Ask every service that this one calls a question that changes nothing."""
        ...
