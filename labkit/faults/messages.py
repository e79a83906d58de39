"""Messages that come twice, late, out of order, not at all, or that nobody can read."""

from collections.abc import Iterator

from labkit.faults.poisoning import MAX_FIELDS, Poison, put_poison_aside
from labkit.faults.processes import ProcessVerbs
from labkit.faults.standing_verbs import TOPICS, StandingVerbs, one_of, seconds_of
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import Reach, verb
from labkit.runtime.injection.standing import FaultKind, StandingFault


class MessageVerbs(StandingVerbs, ProcessVerbs):
    """The faults of messages."""

    @verb
    def duplicated(self, topic: str) -> Iterator[Reach]:
        """Send each message of a topic twice.

        Args:
            topic: its name in the wiring, such as `order_cancel`.
        """
        with self._standing(
            StandingFault(FaultKind.DUPLICATED, one_of(topic, TOPICS, "topic"))
        ) as met:
            yield Reach(met, f"nothing was sent to {topic}")

    @verb
    def reordered(self, topic: str) -> Iterator[Reach]:
        """Swap two messages of a topic that one process sends within a second.

        Args:
            topic: its name in the wiring, such as `order_cancel`.
        """
        with self._standing(
            StandingFault(FaultKind.REORDERED, one_of(topic, TOPICS, "topic"))
        ) as met:
            yield Reach(met, f"no two messages were sent to {topic} within a second")

    @verb
    def late(self, topic: str, seconds: float) -> Iterator[Reach]:
        """Send each message of a topic so much later; those that wait are sent when the block ends.

        Args:
            topic: its name in the wiring, such as `order_cancel`.
            seconds: the delay.
        """
        rule = StandingFault(FaultKind.LATE, one_of(topic, TOPICS, "topic"), seconds_of(seconds))
        with self._standing(rule) as met:
            yield Reach(met, f"nothing was sent to {topic}")

    @verb
    def poison(self, topic: str, fields: int = 1) -> Iterator[Reach]:
        """Send a message that no handler can read, by outbox and broker as any other.

        It waits in each inbox and is then dead, with its cause. When the block ends it is put
        aside: each inbox counts it as done, keeps its cause, and tries it no more.

        Args:
            topic: its name in the wiring, such as `order_cancel`.
            fields: the number of its unknown fields: each makes its cause longer, 700 make it
                longer than any column.
        """
        if not 1 <= fields <= MAX_FIELDS:
            raise ValueError(f"fields are 1 to {MAX_FIELDS}, not {fields}")
        poison = Poison(self._home, one_of(topic, TOPICS, "topic"), fields)
        kept: int | None = None
        note = {"topic": topic, "event_id": poison.event_id, "fields": fields}
        with undo_note(self._home, put_poison_aside, **note):
            poison.send()
            try:
                met = lambda: poison.kept() if kept is None else kept  # noqa: E731  # kept ends it
                yield Reach(met, f"it came to no consumer of {topic}")
            finally:
                kept = poison.kept()

    def lose_broker(self, seed: int | None = None) -> int:
        """Make the broker lose acknowledged records: all of them, or a random tail.

        The services are stopped meanwhile, so that the lost records can be counted.

        Args:
            seed: of the tail that each partition loses; without one, all is lost.

        Returns:
            The number of lost records; 0 means that the fault was not reached.
        """
        from labkit.faults import broker_loss  # here: a Kafka client takes long to load

        log = broker_loss.BrokerLog(self._home)
        with self._services_stopped():
            held = log.read()
            if log.is_kept:
                log.cut(held)
            else:
                self.kill("broker")
            kept = [] if seed is None else broker_loss.heads(held, seed)
            log.write(kept)
        return len(held) - len(kept)
