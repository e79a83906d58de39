"""The consumer loop: the one place that catches broadly, because it writes down what it catches."""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from labkit.results import Result
from labkit.runtime import critical
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.database import Database
from labkit.runtime.db.errors import is_away, is_held
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.messaging.kafka import Broker, Consumer, GroupLost
from labkit.runtime.messaging.reading import Progress
from labkit.runtime.registry.ids import NoIds
from labkit.runtime.steps import Event, Step
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_RETRY_SECONDS = 0.3
_PAUSE_SECONDS = 0.5

#: topic → what its events are read as, and the handler.
Handlers = Mapping[str, tuple[type[Event], Step[Any, None]]]


class Inbox:
    """Consumes the events of one group for one service process.

    Args:
        group: the consumer group, named after the service.
        handlers: topic → event type and handler.
        broker: where events come from.
        database: the service's own; the inbox lies in it.
        failpoints: crossed around each commit of an offset.

    Attributes:
        progress: how far it has read.
    """

    def __init__(
        self,
        group: str,
        handlers: Handlers,
        broker: Broker,
        database: Database,
        failpoints: Failpoints,
    ) -> None:
        self._group = group
        self._first = {topic: inbox.guarded(step, kind) for topic, (kind, step) in handlers.items()}
        self._again = {topic: inbox.retried(step, kind) for topic, (kind, step) in handlers.items()}
        self._by_hand = {
            topic: inbox.retried(step, kind, by_hand=True)
            for topic, (kind, step) in handlers.items()
        }
        self._broker = broker
        self._database = database
        self._failpoints = failpoints
        self.progress = Progress()
        self._stopping = threading.Event()
        self._thread = critical.VitalThread(self._consume, "consumer")

    def start(self) -> None:
        """Join the group and consume, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was polled and leave the group."""
        self._stopping.set()
        self._thread.join(timeout=5)

    async def run_retries(self) -> None:
        """Try waiting rows again when their time has come, until cancelled."""
        while True:
            try:
                due = await self._database.run(inbox.find_due, None)
                await asyncio.gather(*(self._retry_apart(delivery) for delivery in due))
            except Exception as error:  # above all a database that is away: it burns no tries
                log.warning("retries of %s pause: %s", self._group, error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _retry_apart(self, delivery: Delivery) -> None:
        """Try one waiting row; what befalls it alone holds up no other."""
        try:
            await self._try_again(self._again, delivery)
        except Exception as error:
            if _is_away(error):
                raise
            log.warning("event %d of %s waits on: %s", delivery.event_id, self._group, error)

    async def retry(self, thing: StuckItem) -> Result[None]:
        """Drive one kept event by hand, whether it waits or is dead."""
        delivery = await self._database.run(inbox.find_delivery, thing.number)
        if delivery is None:
            text = f"event {thing.number} waits nowhere in {self._group}"
            return Result[None].refused(RuntimeCode.BAD_REQUEST, text)
        error = await self._try_again(self._by_hand, delivery)
        if error:
            return Result[None].refused(
                RuntimeCode.MQ_SEND_FAILED, f"event {thing.number}: {error}"
            )
        return Result[None].ok(message=f"event {thing.number} is done in {self._group}")

    async def _try_again(
        self, steps: Mapping[str, Step[Any, None]], delivery: Delivery
    ) -> str | None:
        try:
            await self._run(steps[delivery.topic], delivery)
        except Exception as error:  # kept with its cause, for people to see
            if _is_away(error):
                raise
            await self._database.run(inbox.keep_failure, _failure(delivery, error))
            return f"{type(error).__name__}: {error}"
        return None

    def _consume(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._broker.consumer(self._first)) as consumer:
                    while not self._stopping.is_set():
                        self._poll(consumer)
            except GroupLost as error:
                log.warning("the consumer of %s joins another group: %s", self._group, error)
                self._broker.change_group()
            except Exception:  # whatever a client library raises, at its closing too
                log.exception("the consumer of %s is made anew", self._group)
                self._stopping.wait(_PAUSE_SECONDS)

    def _poll(self, consumer: Consumer) -> None:
        began = time.monotonic()
        if deliveries := list(consumer.poll(_POLL_SECONDS)):
            self._take(consumer, deliveries)
        if consumer.has_read_all():
            self.progress.note(began, joined=consumer.has_joined)

    def _take(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        futures = [self._submit(self._first[one.topic], one) for one in deliveries]
        for delivery, future in zip(deliveries, futures, strict=True):
            try:
                future.result()
            except Exception as error:  # the partition moves on; the row is tried again
                self._keep(delivery, error)
        boundaries = [f"{self._group}.{one.topic}" for one in deliveries]
        for boundary in boundaries:
            self._failpoints.cross(f"{boundary}.before_offset_commit")
        consumer.commit()
        for boundary in boundaries:
            self._failpoints.cross(f"{boundary}.after_offset_commit")

    def _submit(self, step: Step[Any, None], delivery: Delivery) -> "Future[None]":
        if not (tracing.on and delivery.trace):
            return self._database.submit(step, delivery)
        span = tracing.begin(step.name, Kind.RECEIVE, delivery.trace, **_about(delivery))
        future = self._database.submit(step, delivery, span.trace)
        future.add_done_callback(span.end_with)
        return future

    async def _run(self, step: Step[Any, None], delivery: Delivery) -> None:
        if not (tracing.on and delivery.trace):
            return await self._database.run(step, delivery)
        with tracing.span(step.name, Kind.RECEIVE, delivery.trace, **_about(delivery)):
            return await self._database.run(step, delivery)

    def _keep(self, delivery: Delivery, error: Exception) -> None:
        """Store a failed delivery; while the database is away, run it again every now and then.

        At once first: what was polled with it may have waited until the database was back.
        """
        while _is_away(error) and not self._stopping.is_set():
            try:
                return self._database.submit(self._first[delivery.topic], delivery).result()
            except Exception as again:  # still away, or the handler's own error now
                error = again
            if _is_away(error):
                log.warning("polling of %s pauses: %s", self._group, error)
                time.sleep(_PAUSE_SECONDS)
        return self._store(_failure(delivery, error))

    def _store(self, failure: Failure) -> None:
        """Store a failed delivery, at least with what its cause is called.

        One that cannot be stored at all is passed over, so that its partition moves on: its
        producer sends it again until there is a row for it.
        """
        shorter = failure.model_copy(update={"error": failure.error.partition(":")[0]})
        for attempt in (failure, shorter):
            try:
                return self._database.submit(inbox.keep_failure, attempt).result()
            except Exception as error:
                if _is_away(error):
                    raise
                event_id = failure.delivery.event_id
                log.error("event %d of %s cannot be kept: %s", event_id, self._group, error)
        return None


def _about(delivery: Delivery) -> dict[str, Any]:
    """What a span says of a delivery."""
    return {"topic": delivery.topic, "order_id": delivery.key, "event_id": delivery.event_id}


def _is_away(error: Exception) -> bool:
    """Return True if no event can be handled now, which is none of its doing.

    The database is away, or has too much to do, or no ids can be made.
    """
    return is_away(error) or isinstance(error, (NoIds, Overloaded))


def _failure(delivery: Delivery, error: Exception) -> Failure:
    text = f"{type(error).__name__}: {error}"
    return Failure(delivery=delivery, error=text, held=is_held(error))
