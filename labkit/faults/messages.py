"""Messages that come twice, late, out of order, not at all, or that nobody can read."""

from collections.abc import Iterator

from labkit.faults.poisoning import MAX_FIELDS, Poison, put_poison_aside
from labkit.faults.processes import ProcessVerbs
from labkit.faults.rule_verbs import TOPICS, RuleVerbs, one_of, seconds_of
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import Reach, verb
from labkit.runtime.injection.standing import FaultKind, StandingFault


class MessageVerbs(RuleVerbs, ProcessVerbs):
    """What can befall a message."""

    @verb
    def duplicated(self, topic: str) -> Iterator[Reach]:
        """Each message of a topic is sent twice.

        Args:
            topic: as the wiring names it, `order_cancel`.
        """
        with self._ruled(
            StandingFault(FaultKind.DUPLICATED, one_of(topic, TOPICS, "topic"))
        ) as met:
            yield Reach(met, f"nothing was sent to {topic}")

    @verb
    def reordered(self, topic: str) -> Iterator[Reach]:
        """Of two messages of a topic that one process sends within a second, the later goes first.

        Args:
            topic: as the wiring names it, `order_cancel`.
        """
        with self._ruled(StandingFault(FaultKind.REORDERED, one_of(topic, TOPICS, "topic"))) as met:
            yield Reach(met, f"no two messages were sent to {topic} within a second")

    @verb
    def late(self, topic: str, seconds: float) -> Iterator[Reach]:
        """Each message of a topic is sent so much later; what waits goes when the block ends.

        Args:
            topic: as the wiring names it, `order_cancel`.
            seconds: how much later.
        """
        rule = StandingFault(FaultKind.LATE, one_of(topic, TOPICS, "topic"), seconds_of(seconds))
        with self._ruled(rule) as met:
            yield Reach(met, f"nothing was sent to {topic}")

    @verb
    def poison(self, topic: str, fields: int = 1) -> Iterator[Reach]:
        """A message that no handler can read goes the way of all others, by outbox and broker.

        It waits in each inbox and is then dead, with its cause. When the block ends it is put
        aside: it counts as done there, keeps its cause, and is tried no more.

        Args:
            topic: as the wiring names it, `order_cancel`.
            fields: how many it has that nobody knows: each makes its cause longer, 700 make it
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
        """Make the broker forget what it had acknowledged: everything, or a random tail of it.

        The services stand still meanwhile, so that what is lost can be counted.

        Args:
            seed: of the tail that each partition loses; without one, everything is lost.

        Returns:
            How many records were lost: none means that the fault was not reached.
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
