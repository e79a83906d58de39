"""Sharing partitions without a group: the instances of a service agree by looking at each other.

Kafka's groups hand partitions out. The embedded broker has groups as well, but lets a member in
only after four seconds, so that messages were late by seven whenever a process was killed. So there
each instance works out by itself which partitions are its own: all that it needs to know is who
lives. Two that disagree for a moment handle a message twice, and the inbox knows that.

Who is dead is known from the lease that a process loses with its life. One that merely stands still
keeps it; but it counts no beats any more.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TypeVar

from labkit.runtime.injection.counters import Counters
from labkit.runtime.registry.ports import Registry

P = TypeVar("P")

_LISTENERS_MAX_AGE_S = 0.2
_MOST_INSTANCES = 10
_LEAST_SILENCE_S = 1.2  # three times as long as an idle consumer is silent


class Share:
    """The share of one instance in the partitions of its service.

    Args:
        service: the instances of which share.
        instance: its number.
        listeners: says which instances live.
        beats: the file in which they count their beats.
        silence_s: after which an instance that counts none stands still.
        clock: reads the monotonic clock.

    Raises:
        ValueError: there is no room for the beats of an instance of this number.
    """

    def __init__(
        self,
        service: str,
        instance: int,
        listeners: Registry,
        beats: Path,
        silence_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not 0 <= instance < _MOST_INSTANCES:
            raise ValueError(f"{service}-{instance}: at most {_MOST_INSTANCES - 1} instances share")
        self._service = service
        self._instance = instance
        self._listeners = listeners
        self._file = beats
        self._silence_s = max(silence_s, _LEAST_SILENCE_S)
        self._clock = clock
        self._heard: dict[int, tuple[int, float]] = {}  # instance → its last beat, and since when

    @cached_property
    def _beats(self) -> Counters:
        return Counters(self._file, _MOST_INSTANCES)

    def of(self, partitions: Sequence[P]) -> list[P]:
        """Count a beat, and return the partitions that are this instance's now.

        Args:
            partitions: all of them, in an order that every instance has.
        """
        with suppress(OSError):  # a full disk: the others take it for one that stands still
            self._beats.add(self._instance)
        living = sorted({self._instance, *filter(self._moves, self._fellows())})
        return [
            partition
            for number, partition in enumerate(partitions)
            if living[number % len(living)] == self._instance
        ]

    def _fellows(self) -> list[int]:
        listed = self._listeners.instances(self._service, _LISTENERS_MAX_AGE_S)
        return [fellow.instance for fellow in listed if fellow.instance < _MOST_INSTANCES]

    def _moves(self, fellow: int) -> bool:
        """Return True if an instance has counted a beat a short time ago."""
        try:
            beat, now = self._beats.read(fellow), self._clock()
        except OSError:  # a message that two handle is better than one that nobody reads
            return False
        if fellow not in self._heard or self._heard[fellow][0] != beat:
            self._heard[fellow] = beat, now
        return now - self._heard[fellow][1] < self._silence_s
