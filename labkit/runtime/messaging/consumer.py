"""The consumer loop: the one place that catches broadly, because it writes down what it catches."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping

from labkit.results import Result
from labkit.runtime import critical
from labkit.runtime.clock import Clock, MachineClock
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.errors import is_away, is_held
from labkit.runtime.errors import Overloaded, Unknown
from labkit.runtime.evolution import FromTheFuture, Upcasts
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging import due, inbox
from labkit.runtime.messaging.alarm import Alarm
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.forgetting import MaybeForgotten, Told
from labkit.runtime.messaging.inbox import Delivery, DeliveryStep, Failure
from labkit.runtime.messaging.ports import Broker, Consumer, GroupLost, StepRunner
from labkit.runtime.messaging.reading import NEVER_S, Progress
from labkit.runtime.messaging.retention import Senders
from labkit.runtime.registry.ids import NoIds
from labkit.runtime.steps import Event, EventHandler
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

log = logging.getLogger(__name__)

_POLL_S = 0.4
_PAUSE_S = 0.5
_LEAVE_S = 5.0  # that stopping waits for what was polled, and for leaving the group

#: topic → the type of its events, and their handler.
Handlers = Mapping[str, tuple[type[Event], EventHandler]]
#: topic → the step that takes a delivery.
DeliverySteps = Mapping[str, DeliveryStep]
_Failed = tuple[Delivery, BaseException]


class EventConsumer:
    """Consumes the events of one group for one service process.

    Args:
        group: the consumer group, named after the service.
        handlers: topic → event type and handler.
        broker: where events come from.
        database: the service's own; the inbox lies in it.
        failpoints: crossed around each commit of an offset.
        clock: what pauses are measured by.
        upcasts: bring older versions of the events up to date.
        senders: are asked about an event that may have been forgotten; None where nothing is.
    """

    def __init__(
        self,
        group: str,
        handlers: Handlers,
        broker: Broker,
        database: StepRunner,
        failpoints: Failpoints,
        clock: Clock | None = None,
        upcasts: Upcasts | None = None,
        senders: Senders | None = None,
    ) -> None:
        self._group = group
        self._senders = senders
        kinds = handlers.items()
        self._first = {topic: inbox.guarded(step, kind, upcasts) for topic, (kind, step) in kinds}
        self._again = {topic: inbox.retried(step, kind, upcasts) for topic, (kind, step) in kinds}
        self._by_hand = {
            topic: inbox.retried(step, kind, upcasts, by_hand=True) for topic, (kind, step) in kinds
        }
        self._broker = broker
        self._database = database
        self._failpoints = failpoints
        self._clock = clock or MachineClock()
        self._consumer: Consumer | None = None
        self._progress = Progress(self._clock)
        self._alarm = Alarm(self._clock)
        self._stopping = False

    def start(self) -> None:
        """Join the group and consume, in a task."""
        self._task = asyncio.create_task(self.run(), name="consumer")
        self._task.add_done_callback(self._end_process_unless_stopping)

    async def stop(self) -> None:
        """Finish what was polled and leave the group."""
        self._stopping = True
        await asyncio.wait({self._task}, timeout=_LEAVE_S)
        self._task.cancel()

    async def run(self) -> None:
        """Consume until told to stop; join the group anew where anything fails."""
        while not self._stopping:
            try:
                await self._consume()
            except GroupLost as error:
                log.warning("the consumer of %s joins another group: %s", self._group, error)
                self._broker.change_group()
            except Exception:  # whatever a client library raises, at its closing too
                log.exception("the consumer of %s is made anew", self._group)
                await self._clock.sleep(_PAUSE_S)

    def behind_s(self, topic: str, key: str) -> float:
        """Return how many seconds ago all was read that the broker held in the partition of a key.

        It is never where another instance reads that partition.
        """
        if self._consumer is None:
            return NEVER_S
        return self._progress.behind_s(self._consumer.partition_of(topic, key))

    async def run_retries(self) -> None:
        """Try waiting rows again when their time has come, until cancelled."""
        while True:
            next_ms = None
            try:
                deliveries, next_ms = await self._database.run(due.find_due, None)
                await asyncio.gather(*(self._retry_apart(delivery) for delivery in deliveries))
            except Exception as error:  # above all a database that is away: it burns no tries
                log.warning("retries of %s pause: %s", self._group, error)
            await self._alarm.pause(next_ms)

    async def retry(self, item: StuckItem) -> Result[None]:
        """Drive one kept event by hand, whether it waits or is dead."""
        delivery = await self._database.run(inbox.find_delivery, item.number)
        if delivery is None:
            text = f"event {item.number} waits nowhere in {self._group}"
            return Result[None].refused(RuntimeCode.BAD_REQUEST, text)
        error = await self._try_again(self._by_hand, delivery)
        if error:
            text = f"event {item.number}: {error}"
            return Result[None].refused(RuntimeCode.MQ_SEND_FAILED, text)
        return Result[None].ok(message=f"event {item.number} is done in {self._group}")

    async def _consume(self) -> None:
        self._consumer = consumer = await self._broker.join(self._first)
        try:
            while not self._stopping:
                await self._poll(consumer)
        finally:
            self._consumer = None
            await consumer.close()

    async def _poll(self, consumer: Consumer) -> None:
        began = self._clock.monotonic()
        polled = await consumer.poll(_POLL_S)
        if polled.deliveries:
            await self._take(consumer, polled.deliveries)
        self._progress.note(polled, began)

    async def _take(self, consumer: Consumer, deliveries: list[Delivery]) -> None:
        ends = await asyncio.gather(
            *(self._begin(self._first[delivery.topic], delivery) for delivery in deliveries),
            return_exceptions=True,
        )
        failed = [
            (delivery, end)
            for delivery, end in zip(deliveries, ends, strict=True)
            if isinstance(end, BaseException)
        ]
        for delivery, error in await self._without_repetitions(failed):
            await self._keep(delivery, error)  # the partition moves on; the row is tried again
        boundaries = [f"{self._group}.{delivery.topic}" for delivery in deliveries]
        await self._cross(boundaries, "before_offset_commit")
        await consumer.commit()
        await self._cross(boundaries, "after_offset_commit")

    async def _cross(self, boundaries: list[str], place: str) -> None:
        for name in (f"{boundary}.{place}" for boundary in boundaries):
            if not self._failpoints.passes(name):
                await self._failpoints.cross_async(name)

    def _begin(self, step: DeliveryStep, delivery: Delivery) -> Awaitable[None]:
        """Run a step, however many wait for the database: the batch bounds itself."""
        if tracing.on and delivery.trace:
            return self._begin_traced(step, delivery)
        return self._database.ask(step, delivery, bounded=False)

    async def _begin_traced(self, step: DeliveryStep, delivery: Delivery) -> None:
        with tracing.span(step.name, Kind.RECEIVE, delivery.trace, **_attributes(delivery)):
            await self._database.ask(step, delivery, bounded=False)

    async def _keep(self, delivery: Delivery, error: BaseException) -> None:
        """Store a failed delivery; while the database is away, run it again every now and then.

        At once first: what was polled with it may have waited until the database was back. What
        may be a repetition that was forgotten is stored under no circumstances: it is run again if
        its sender still has it, and else passed over.
        """
        while _may_pass(error) and not self._stopping:
            if isinstance(error, MaybeForgotten) and delivery.confirmed != error.rounds:
                if not await self._find_held([delivery]):
                    return None
                delivery = _cleared(delivery, error)
            try:
                return await self._database.ask(
                    self._first[delivery.topic], delivery, bounded=False
                )
            except Exception as again:  # still away, or the handler's own error now
                error = again
            if _is_away(error):
                log.warning("polling of %s pauses: %s", self._group, error)
                await self._clock.sleep(_PAUSE_S)
        if isinstance(error, MaybeForgotten):
            return None
        return await self._store(failure_of(delivery, error))

    async def _without_repetitions(self, failed: list[_Failed]) -> list[_Failed]:
        """Leave out what was handled and forgotten, and clear the rest of doubt, by one question.

        Where a broker hands out its log from the beginning, that is nearly everything.
        """
        doubtful = [each for each, error in failed if isinstance(error, MaybeForgotten)]
        held = await self._find_held(doubtful) if doubtful else frozenset()
        return [
            (_cleared(each, error) if isinstance(error, MaybeForgotten) else each, error)
            for each, error in failed
            if not isinstance(error, MaybeForgotten) or each.event_id in held
        ]

    async def _find_held(self, deliveries: list[Delivery]) -> frozenset[int]:
        """Find the events that an outbox holds; none if that is not known now.

        Then the sender of one, if it has it, will send it again: there is no row for it.
        """
        assert self._senders, "only a service that knows the senders forgets"
        try:
            told = [Told(each.event_id, each.topic) for each in deliveries]
            return await self._senders.find_held(told)
        except Unknown as error:
            log.warning("%d events are passed over for now: %s", len(deliveries), error)
            return frozenset()

    async def _store(self, failure: Failure) -> None:
        """Store a failed delivery, at least with the type of its cause.

        One that cannot be stored at all is passed over, so that its partition moves on: its
        producer sends it again until there is a row for it.
        """
        shorter = failure.model_copy(update={"error": failure.error.partition(":")[0]})
        for attempt in (failure, shorter):
            try:
                await self._database.ask(inbox.keep_failure, attempt, bounded=False)
            except MaybeForgotten:
                return  # its sender sends it again, if it has it
            except Exception as error:
                if _is_away(error):
                    raise
                event_id = failure.delivery.event_id
                log.error("event %d of %s cannot be kept: %s", event_id, self._group, error)
            else:
                self._alarm.ring()
                return

    async def _retry_apart(self, delivery: Delivery) -> None:
        """Try one waiting row, so that its own failure holds up no other."""
        try:
            await self._try_again(self._again, delivery)
        except Exception as error:
            if _is_away(error):
                raise
            log.warning("event %d of %s waits on: %s", delivery.event_id, self._group, error)

    async def _try_again(self, steps: DeliverySteps, delivery: Delivery) -> str | None:
        try:
            await self._run(steps[delivery.topic], delivery)
        except Exception as error:  # kept with its cause, for people to see
            if _is_away(error):
                raise
            await self._database.run(inbox.keep_failure, failure_of(delivery, error))
            self._alarm.ring()
            return f"{type(error).__name__}: {error}"
        return None

    async def _run(self, step: DeliveryStep, delivery: Delivery) -> None:
        if not (tracing.on and delivery.trace):
            return await self._database.run(step, delivery)
        with tracing.span(step.name, Kind.RECEIVE, delivery.trace, **_attributes(delivery)):
            return await self._database.run(step, delivery)

    def _end_process_unless_stopping(self, task: "asyncio.Task[None]") -> None:
        if not (self._stopping or task.cancelled()):
            critical.end_process(task.get_name(), task.exception())


def _attributes(delivery: Delivery) -> dict[str, str]:
    """Return the attributes of a delivery's span."""
    ids = {"order_id": delivery.key, "event_id": str(delivery.event_id)}
    return {"topic": delivery.topic, **ids}


def _is_away(error: BaseException) -> bool:
    """Return True if no event can be handled now, which is none of its doing.

    The database is away, or has too much to do, or no ids can be made.
    """
    return is_away(error) or isinstance(error, (NoIds, Overloaded))


def _cleared(delivery: Delivery, doubt: MaybeForgotten) -> Delivery:
    """Return a delivery of which its sender has said that it holds it."""
    return delivery.model_copy(update={"confirmed": doubt.rounds})


def _may_pass(error: BaseException) -> bool:
    """Return True if the same delivery may be handled when it is run again at once."""
    return _is_away(error) or isinstance(error, MaybeForgotten)


def failure_of(delivery: Delivery, error: BaseException) -> Failure:
    """Return what is kept of a delivery whose handler raised."""
    text = f"{type(error).__name__}: {error}"
    early = isinstance(error, FromTheFuture)
    return Failure(delivery=delivery, error=text, held=is_held(error), early=early)
