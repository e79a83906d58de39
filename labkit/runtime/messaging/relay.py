"""The outbox relay: it sends what was committed, marks it when the broker has acknowledged it, and
settles it when the consumer groups themselves say that they have it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf

from labkit.runtime.clock import Clock, MachineClock
from labkit.runtime.db.tables import SENT, UNSENT
from labkit.runtime.injection.failpoints import NOTHING, Failpoints, Refused
from labkit.runtime.injection.messages import MessageFaults
from labkit.runtime.messaging import addresses, audit, outbox
from labkit.runtime.messaging.addresses import Subscriptions
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.alarm import Alarm
from labkit.runtime.messaging.deadlines import Deadline
from labkit.runtime.messaging.outbox import Groups, OutboxMessage, Postpone
from labkit.runtime.messaging.ports import Broker, BrokerError, StepRunner
from labkit.runtime.registry.ids import first_of
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

log = logging.getLogger(__name__)

#: Between two looks for groups that were wired meanwhile, where no audit asks for one earlier.
_ADDRESS_S = 1.0
_POSTPONE_S = 0.5
_COMMITTED_MS = 10_000  # longer than an event waits for its commit, from the making of its id


class Relay:
    """Sends the events of one service process to the broker, and follows each until it is settled.

    Args:
        service: the service whose outbox it is.
        broker: the broker that takes the events.
        failpoints: crossed for each message.
        admin_of: group → the admin service of the service that consumes for it.
        limit: how many messages may be on their way.
        audit_delay: seconds from an acknowledgement to the first audit.
        clock: what pauses and deadlines are measured by.
    """

    def __init__(
        self,
        service: str,
        broker: Broker,
        failpoints: Failpoints,
        admin_of: Callable[[str], AdminService],
        limit: int,
        audit_delay: float,
        clock: Clock | None = None,
    ) -> None:
        self._service = service
        self._producer = broker.producer()
        self._failpoints = failpoints
        self._message_faults = MessageFaults(failpoints.standing)
        self._clock = clock = clock or MachineClock()
        self._admin_of = cache(
            lambda group: audit.PatientAdmin(admin_of(group), audit_delay, clock.monotonic)
        )
        self._limit = limit
        self._audit_delay = audit_delay
        self._alarm = Alarm(clock)
        self._addressed_ms, self._addressed_at = clock.wall_ms(), -inf
        self._sending: dict[int, asyncio.Task[None]] = {}

    async def run(
        self, database: StepRunner, groups: Groups, deadlines: tuple[Deadline, ...] = ()
    ) -> None:
        """Send and audit until cancelled: what other processes left behind, and what is unsettled.

        What a commit of this process wrote comes by `send_all`, without waiting for the next scan.

        Args:
            database: of the service; the outbox lies in it.
            groups: topic → the consumer groups that must have its events.
            deadlines: what is tried again in the database.
        """
        self._database = database
        self._deadlines = deadlines
        while True:
            next_ms = None
            try:
                is_due, next_ms = await self._look(groups)
                while is_due:
                    unsent = await self._claim_unsent()
                    unsettled = await database.run(outbox.claim_unsettled, None)
                    self.send_all(unsent)
                    await self._audit(unsettled)
                    if not unsent and not unsettled:
                        break  # another instance is claiming them
                    is_due, next_ms = await self._look(groups)
            except Exception:  # the relay outlives a database or a consumer that is away
                log.exception("the relay of %s will look again", self._service)
            await self._alarm.pause(next_ms)

    def send_all(self, messages: list[OutboxMessage]) -> None:
        """Begin to send; what is too much now stays in the outbox until its lease is over."""
        for message in messages:
            if message.event_id not in self._sending and len(self._sending) < self._limit:
                self._sending[message.event_id] = asyncio.create_task(self._send(message))

    async def _look(self, groups: Groups) -> tuple[bool, int | None]:
        """Return whether an event is to be sent or audited now, and when the next one is.

        What is due now has all its addresses.
        """
        next_ms = await self._database.run(outbox.find_next_try, None)
        is_due = next_ms is not None and next_ms <= self._clock.wall_ms()
        age_s = self._clock.monotonic() - self._addressed_at
        if age_s >= _ADDRESS_S or (is_due and age_s >= self._audit_delay / 2):
            await self._address(groups)
        return is_due, next_ms

    async def _claim_unsent(self) -> list[OutboxMessage]:
        """Claim what is to be sent, where there is room for it: else it is claimed in vain.

        With a broker that is away and a long outbox the database would do little else.
        """
        if len(self._sending) >= self._limit:
            return []
        return await self._database.run(outbox.claim_unsent, None)

    async def _address(self, groups: Groups) -> None:
        """Address events to the groups that were wired since they were written.

        This happens at least once before the first audit of a new event. It covers all that was
        written since the last time, settled or not.
        """
        began_ms, is_first = self._clock.wall_ms(), self._addressed_at == -inf
        began = self._clock.monotonic()
        since = first_of(self._addressed_ms - _COMMITTED_MS)
        subscriptions = Subscriptions(groups, since, self._deadlines if is_first else ())
        if is_first or await self._database.run(addresses.lacks_addresses, subscriptions):
            await self._database.run(addresses.readdress, subscriptions)
        self._addressed_ms = began_ms
        self._addressed_at = began

    async def _send(self, message: OutboxMessage) -> None:
        try:
            await self._send_once(message)
        finally:
            del self._sending[message.event_id]

    async def _send_once(self, message: OutboxMessage) -> None:
        try:
            await (self._carry_traced if tracing.on and message.trace else self._carry)(message)
        except Refused as error:
            await self._postpone([message], UNSENT, f"Refused: {error}")
        except BrokerError as error:
            await self._postpone([message], UNSENT, str(error))
        else:
            await self._mark_sent(message)

    async def _carry(self, message: OutboxMessage) -> None:
        boundary = f"{self._service}.{message.topic}."
        action = NOTHING
        if not self._failpoints.passes(boundary + "before_send"):
            action = await self._failpoints.act_async(boundary + "before_send")
        if await self._message_faults.apply(message.topic) or action.twice:
            await self._producer.send(message)
        if not action.lost:
            await self._producer.send(message)
        self._message_faults.sent(message.topic)
        if not self._failpoints.passes(boundary + "after_ack"):
            await self._failpoints.cross_async(boundary + "after_ack")

    async def _carry_traced(self, message: OutboxMessage) -> None:
        attributes = {"order_id": message.key, "event_id": str(message.event_id)}
        with tracing.span(message.topic, Kind.SEND, message.trace, **attributes) as span:
            await self._carry(replace(message, trace=span.trace))

    async def _mark_sent(self, message: OutboxMessage) -> None:
        try:
            await self._database.run(outbox.mark_sent, [message.event_id])
            self._alarm.ring()
            if not message.groups:
                await self._database.run(outbox.mark_settled, [message])
        except Exception:  # its lease runs out, and it is sent again
            log.exception("event %d of %s is sent and not marked", message.event_id, self._service)

    async def _audit(self, messages: list[OutboxMessage]) -> None:
        """Ask each group what it lacks; its own database answers, not the broker."""
        findings = await audit.ask_groups(self._admin_of, messages, self._audit_delay)
        for missing in findings.missing():  # first: what one group lost, another may not have yet
            await self._database.run(outbox.mark_missing, missing)
        for error, waiting in findings.waiting.items():
            await self._postpone(waiting, SENT, error)
        if arrived := findings.arrived(messages):
            await self._database.run(outbox.mark_settled, arrived)

    async def _postpone(self, messages: list[OutboxMessage], status: int, error: str) -> None:
        ids = tuple(message.event_id for message in messages)
        log.warning("%d events of %s wait: %s", len(ids), self._service, error)
        command = Postpone(event_ids=ids, status=status, error=error, delay=_POSTPONE_S)
        await self._database.run(outbox.postpone, command)
        self._alarm.ring()
