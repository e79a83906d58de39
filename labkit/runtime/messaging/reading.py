"""How far a consumer has read: what lies behind that is lost if its group does not have it.

An instance answers only for the partitions that its group has given to it. What lies in another
one is for the instance that reads that: the audit asks again, and comes to it in the end.
"""

from labkit.results import Message
from labkit.runtime.clock import Clock
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.messaging.ports import Partition, Polled

#: The age of something that never happened; JSON has no number that is infinite.
NEVER_S = 1e9


class LostQuery(MissingQuery):
    """The audit's second question: has the group lost these messages, or not read them yet?

    Attributes:
        routes: event id → topic and key of the message, which tell its partition.
    """

    routes: dict[int, tuple[str, str]]


class Reading(Message):
    """The answer to a `LostQuery`: the events that are missing, and how far the instance has read.

    Attributes:
        missing: what the group lacks, after all that waited for its database before the question.
        behind_s: event id → how long ago the instance had read all that the broker held then in
            the partition of that event.
    """

    missing: Missing
    behind_s: dict[int, float]


class Progress:
    """When one instance had last read all there was, for each of its partitions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_at: dict[Partition, float] = {}

    def note(self, polled: Polled, at: float) -> None:
        """Note that what was polled is taken care of, and forget partitions that others read now.

        Args:
            polled: by a poll.
            at: when it began, by the monotonic clock.
        """
        kept = {part: read for part, read in self._read_at.items() if part in polled.assigned}
        self._read_at = kept | dict.fromkeys(polled.read, at)

    def behind_s(self, partition: Partition | None) -> float:
        """Return how many seconds ago all of a partition was read."""
        read_at = self._read_at.get(partition) if partition else None
        return NEVER_S if read_at is None else self._clock.monotonic() - read_at
