"""The desk of every service: what the runtime of one asks of another, and people of both."""

from typing import Protocol

from labkit.results import Message, Result
from labkit.runtime.inbox import MissingQuery


class RetryCommand(Message):
    """Drive one kept event by hand.

    Attributes:
        event_id: of a row of the inbox or the outbox.
    """

    event_id: int


class Desk(Protocol):
    """Served by every service that has a database."""

    async def find_missing(self, query: MissingQuery) -> tuple[int, ...]:
        """Which of these events has the group no inbox row for?"""
        ...

    async def retry(self, command: RetryCommand) -> Result[None]:
        """Try a waiting or dead event again, now."""
        ...
