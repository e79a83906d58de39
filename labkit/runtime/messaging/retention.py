"""Retention: the loop that forgets settled messages, and the question that clears a doubt."""

import asyncio
import logging
from collections.abc import Sequence

from labkit.runtime.clock import Clock
from labkit.runtime.messaging import forgetting
from labkit.runtime.messaging.audit import PatientAdmin
from labkit.runtime.messaging.forgetting import DoneBetween, HeldQuery, SettledBefore
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.messaging.ports import StepRunner
from labkit.runtime.registry.ids import first_of
from labkit.settings import Settings

log = logging.getLogger(__name__)

_MAX_PAUSE_S = 60.0


class Senders:
    """All services that have an outbox.

    Args:
        admins: the admin service of each.
    """

    def __init__(self, admins: Sequence[PatientAdmin]) -> None:
        self._admins = admins

    async def find_held(self, event_ids: Sequence[int]) -> frozenset[int]:
        """Find the events that an outbox holds.

        Raises:
            Unknown: one of them did not answer.
        """
        query = HeldQuery(event_ids=tuple(event_ids))
        answers = await asyncio.gather(*(admin.find_held(query) for admin in self._admins))
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
            await self._database.run(forgetting.forget_settled, ids)
        handled = DoneBetween(self._service, 0, first_of(before_ms))
        while ids := await self._database.run(forgetting.find_done, handled):
            held = await self._senders.find_held(ids)
            if gone := [event_id for event_id in ids if event_id not in held]:
                await self._database.run(forgetting.forget_handled, gone)
            handled = handled._replace(after=ids[-1])
