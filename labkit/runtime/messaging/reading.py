"""How far a consumer has read: what lies behind that is lost if its group does not have it."""

import math
import time

from labkit.results import Message
from labkit.runtime.messaging.inbox import Missing


class Reading(Message):
    """What a group lacks, and how far it has read.

    Attributes:
        missing: what it lacks, after all that waited for its database before the question.
        behind_s: how long ago it had read all that the broker held then.
    """

    missing: Missing
    behind_s: float


class Progress:
    """When the consumer of one process had last read all there was."""

    def __init__(self) -> None:
        self._read_at = -math.inf

    def note(self, at: float, *, joined: bool) -> None:
        """Note that all that was there at a time is read, and taken care of.

        Args:
            at: by the monotonic clock.
            joined: whether the consumer is a member of its group; one that waits to be one again
                reads all there is, of a broker that is away.
        """
        if joined or self._read_at > -math.inf:
            self._read_at = at

    def behind_s(self) -> float:
        """Return how many seconds ago that was; very many where it never was."""
        return min(time.monotonic() - self._read_at, 1e9)  # no number of JSON is infinite
