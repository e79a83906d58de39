"""The outbox relay: sends what was committed, marks it when the broker has acknowledged it, and
settles it when the subscribers themselves say that they have it."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

from labkit.runtime.clock import wall_ms
from labkit.runtime.db.database import Database
from labkit.runtime.db.tables import SENT, UNSENT
from labkit.runtime.injection.failpoints import Failpoints, Refused
from labkit.runtime.injection.messages import MessageFaults
from labkit.runtime.messaging import audit, outbox
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.kafka import Broker, BrokerError, Producer
from labkit.runtime.messaging.outbox import Groups, OutboxMessage, Postpone, Wiring
from labkit.runtime.registry.ids import first_of
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

log = logging.getLogger(__name__)

_SCAN_SECONDS = 0.3
_POSTPONE_SECONDS = 0.5
_COMMITTED_MS = 10_000  # longer than an event waits for its commit, from the making of its id
_ACKNOWLEDGED_SECONDS = 10.0  # longer than the client itself may take, for all that it waits for


class Relay:
    """Carries the events of one service process to the broker, and sees them home.

    Args:
        service: whose outbox.
        broker: where to.
        failpoints: crossed for each parcel.
        desk_of: group → the desk of the service that consumes for it.
        limit: how many events may be on their way.
        audit_delay: seconds from an acknowledgement to the first audit.
    """

    def __init__(
        self,
        service: str,
        broker: Broker,
        failpoints: Failpoints,
        desk_of: Callable[[str], AdminService],
        limit: int,
        audit_delay: float,
    ) -> None:
        self._service = service
        self._broker = broker
        self._failpoints = failpoints
        self._message_faults = MessageFaults(failpoints.standing)
        self._desk_of = cache(lambda group: audit.Asked(desk_of(group), audit_delay))
        self._limit = limit
        self._audit_delay = audit_delay
        self._addressed_ms, self._address_at = wall_ms(), 0.0
        self._producer: Producer | None = None
        self._thread = ThreadPoolExecutor(1, "relay")
        self._loop = asyncio.get_running_loop()
        self._sending: dict[int, asyncio.Task[None]] = {}

    def hand_over(self, parcels: list[OutboxMessage]) -> None:
        """Send what a commit just wrote; called from the committer's thread."""
        if parcels:
            self._loop.call_soon_threadsafe(self._send_all, parcels)

    async def run(self, database: Database, groups: Groups) -> None:
        """Work until cancelled: what commits hand over, what was left behind, what is unsettled."""
        self._database = database
        while True:
            try:
                while await self._is_due(groups):
                    unsent = await self._claim_unsent()
                    unsettled = await database.run(outbox.claim_unsettled, None)
                    self._send_all(unsent)
                    await self._audit(unsettled)
                    if not unsent and not unsettled:
                        break  # another instance is claiming them
            except Exception:  # the relay outlives a database or a subscriber that is away
                log.exception("the relay of %s will look again", self._service)
            await asyncio.sleep(_SCAN_SECONDS)

    async def _is_due(self, groups: Groups) -> bool:
        """Return True if something is to be sent or audited; its addresses are those of now."""
        if time.monotonic() >= self._address_at:
            await self._address(groups)
        due: bool = await self._database.run(outbox.is_due, None)
        return due

    async def _claim_unsent(self) -> list[OutboxMessage]:
        """Claim what is to be sent, where there is room for it: else it is claimed in vain.

        With a broker that is away and a long outbox the database would do little else.
        """
        if len(self._sending) >= self._limit:
            return []
        claimed: list[OutboxMessage] = await self._database.run(outbox.claim_unsent, None)
        return claimed

    async def _address(self, groups: Groups) -> None:
        """Address events to the groups that were wired since they were written.

        It looks at least once before a new event is audited first; and at all that was written
        since it looked last, settled or not.
        """
        began_ms, is_first = wall_ms(), self._address_at == 0
        wiring = Wiring(groups, first_of(self._addressed_ms - _COMMITTED_MS))
        if is_first or await self._database.run(outbox.lacks_addresses, wiring):
            await self._database.run(outbox.readdress, wiring)
        self._addressed_ms = began_ms
        self._address_at = time.monotonic() + self._audit_delay / 2

    def _send_all(self, parcels: list[OutboxMessage]) -> None:
        """Begin to send; what is too much now stays in the outbox until its lease is over."""
        for parcel in parcels:
            if parcel.event_id not in self._sending and len(self._sending) < self._limit:
                self._sending[parcel.event_id] = self._loop.create_task(self._send(parcel))

    async def _send(self, parcel: OutboxMessage) -> None:
        try:
            await self._send_once(parcel)
        finally:
            del self._sending[parcel.event_id]

    async def _send_once(self, parcel: OutboxMessage) -> None:
        try:
            await (self._carry_traced if tracing.on and parcel.trace else self._carry)(parcel)
        except (BrokerError, Refused) as error:
            await self._postpone([parcel], UNSENT, f"{type(error).__name__}: {error}")
        else:
            await self._mark_sent(parcel)

    async def _carry(self, parcel: OutboxMessage) -> None:
        boundary = f"{self._service}.{parcel.topic}."
        twice = await self._failpoints.cross_async(boundary + "before_send")
        if await self._message_faults.apply(parcel.topic) or twice:
            await self._until_acknowledged(parcel)
        await self._until_acknowledged(parcel)
        self._message_faults.sent(parcel.topic)
        await self._failpoints.cross_async(boundary + "after_ack")

    async def _carry_traced(self, parcel: OutboxMessage) -> None:
        about = {"order_id": parcel.key, "event_id": parcel.event_id}
        with tracing.span(parcel.topic, Kind.SEND, parcel.trace, **about) as span:
            await self._carry(replace(parcel, trace=span.trace))

    async def _mark_sent(self, parcel: OutboxMessage) -> None:
        try:
            await self._database.run(outbox.mark_sent, [parcel.event_id])
            if not parcel.groups:
                await self._database.run(outbox.mark_settled, [parcel])
        except Exception:  # its lease runs out, and it is sent again
            log.exception("event %d of %s is sent and not marked", parcel.event_id, self._service)

    async def _until_acknowledged(self, parcel: OutboxMessage) -> None:
        acknowledged: asyncio.Future[None] = self._loop.create_future()

        def succeed(_metadata: Any) -> None:
            self._loop.call_soon_threadsafe(_end, acknowledged, None)

        def fail(error: Exception) -> None:
            self._loop.call_soon_threadsafe(_end, acknowledged, error)

        thread = self._thread
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_SECONDS):
                sent = await self._loop.run_in_executor(thread, self._hand_to_client, parcel)
                sent.add_callback(succeed)
                sent.add_errback(fail)
                await acknowledged
        except TimeoutError:
            self._abandon(thread)
            raise BrokerError(f"no word of it for {_ACKNOWLEDGED_SECONDS:.0f} s") from None
        except BrokerError:
            await self._loop.run_in_executor(self._thread, self._drop_producer)
            raise

    def _abandon(self, thread: ThreadPoolExecutor) -> None:
        """A client that says nothing, not even that it failed, is left alone with its thread.

        A broker that stood still was seen to leave kafka-python so.
        """
        if thread is not self._thread:  # another parcel of its has seen to that
            return
        silent, self._producer = self._producer, None
        self._thread = ThreadPoolExecutor(1, "relay")
        if silent:
            thread.submit(silent.close)
        thread.shutdown(wait=False)

    def _hand_to_client(self, parcel: OutboxMessage) -> Any:
        try:
            if self._producer is None:
                self._producer = self._broker.producer()
            return self._producer.send(parcel)
        except BrokerError:
            self._drop_producer()
            raise

    def _drop_producer(self) -> None:
        """A producer that failed once may never recover: the next send makes a new one."""
        if self._producer:
            self._producer.close()
        self._producer = None

    async def _audit(self, parcels: list[OutboxMessage]) -> None:
        """Ask each group what it lacks; its own database answers, not the broker."""
        found = await audit.ask_groups(self._desk_of, parcels, self._audit_delay)
        for lacking in found.lacking():  # first: what one group lost, another may not have yet
            await self._database.run(outbox.mark_missing, lacking)
        for error, theirs in found.waiting.items():
            await self._postpone(theirs, SENT, error)
        if known := found.arrived(parcels):
            await self._database.run(outbox.mark_settled, known)

    async def _postpone(self, parcels: list[OutboxMessage], status: int, error: str) -> None:
        ids = tuple(parcel.event_id for parcel in parcels)
        log.warning("%d events of %s wait: %s", len(ids), self._service, error)
        command = Postpone(event_ids=ids, status=status, error=error, delay=_POSTPONE_SECONDS)
        await self._database.run(outbox.postpone, command)


def _end(future: "asyncio.Future[None]", error: Exception | None) -> None:
    if future.done():
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)
