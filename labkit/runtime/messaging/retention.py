"""Retention: the loop that forgets settled messages, and the question that clears a doubt."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from labkit.runtime.clock import Clock
from labkit.runtime.messaging import forgetting
from labkit.runtime.messaging.audit import PatientAdmin
from labkit.runtime.messaging.forgetting import DoneBetween, Gone, HeldQuery, SettledBefore, Told
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.ports import StepRunner
from labkit.runtime.registry.ids import first_of
from labkit.settings import Settings

log = logging.getLogger(__name__)

_MAX_PAUSE_S = 60.0


class Senders:
    """The services that have an outbox.

    Args:
        admins: service → its admin service.
        by_topic: topic → the services that send to it.
    """

    def __init__(
        self, admins: Mapping[str, PatientAdmin], by_topic: Mapping[str, Sequence[str]]
    ) -> None:
        self._admins = admins
        self._by_topic = by_topic

    async def find_held(self, told: Iterable[Told]) -> frozenset[int]:
        """Find the events that an outbox holds; who never sends to a topic is not asked about it.

        Raises:
            Unknown: one of the services did not answer.
        """
        asked = defaultdict[str, list[int]](list)
        for event_id, topic in told:
            for service in self._by_topic.get(topic, self._admins):
                asked[service].append(event_id)
        answers = await asyncio.gather(
            *(
                self._admins[service].find_held(HeldQuery(event_ids=tuple(event_ids)))
                for service, event_ids in asked.items()
            )
        )
        return frozenset[int]().union(*(answer.event_ids for answer in answers))


class Retention:
    """Forgets what is settled, in the outbox and the inbox of one service.

    Args:
        service: the service.
        database: of it.
        senders: all services that have an outbox.
        settings: say how long settled messages are kept.
        clock: what pauses are measured by, and the age of messages.
    """

    def __init__(
        self,
        service: str,
        database: StepRunner,
        senders: Senders,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._service = service
        self._database = database
        self._senders = senders
        self._kept_s = settings.message_retention
        self._pause_s = min(max(self._kept_s / 10, settings.sweep_interval), _MAX_PAUSE_S)
        self._clock = clock

    async def run(self) -> None:
        """Forget again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._pause_s)
            try:
                await self.forget()
            except Exception as error:  # a service is away, or a database: what is there stays
                log.warning("%s forgets nothing now: %s", self._service, error)

    async def forget(self) -> None:
        """Forget all that is settled for long enough, a batch after the other."""
        before_ms = self._clock.wall_ms() - int(self._kept_s * 1000)
        settled = SettledBefore(before_ms, kept=DeadLetter.topic)
        while ids := await self._database.run(forgetting.find_settled, settled):
            if not await self._database.run(forgetting.forget_settled, ids):
                break  # others hold them
        handled = DoneBetween(self._service, 0, first_of(before_ms))
        while told := await self._database.run(forgetting.find_done, handled):
            held = await self._senders.find_held(told)
            if ids := [each.event_id for each in told if each.event_id not in held]:
                await self._database.run(forgetting.forget_handled, Gone(self._service, ids))
            handled = handled._replace(after=told[-1].event_id)
