"""Bugs of the outbox, of sending, and of the inbox."""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, update

from course.bugs.bug import Bug, bug
from course.bugs.sessions import commit
from labkit.runtime.db import tables
from labkit.runtime.db.operations import claim
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.evolution import Upcasts, known, read
from labkit.runtime.injection.failpoints import Refused
from labkit.runtime.messaging import consumer, due, inbox, outbox, relay
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.messaging.kafka import KafkaBroker
from labkit.runtime.messaging.kafka_consumer import Member
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.messaging.ports import BrokerError, Consumer
from labkit.runtime.messaging.relay import Relay
from labkit.runtime.steps import Event, Step
from labkit.shop import goods, users
from labkit.shop.messages import OrderPaid
from labkit.shop.states import AccountLogType, LogDirection

not_sent_again = bug(
    "not-sent-again",
    "The relay is told of each event at its commit, so nobody has to look for what was left.",
    "cancelled:order.cancel_by_user.after_commit",
    breaks="order_cancel is not sent",
    mirrors=11,
    waits=True,
)


@not_sent_again.replaces("labkit.runtime.messaging.outbox:claim_unsent")
def _(tx: Transaction, _command: None) -> list[OutboxMessage]:
    new = (tables.outbox.c.status == tables.UNSENT) & (tables.outbox.c.tries == 0)
    tx.execute(update(tables.outbox).where(new).values(next_try=2**60))
    return outbox._claim(tx, tables.UNSENT)


def settled_when_sent(seeded: Bug) -> None:
    """Let the relay ask nobody whether an event arrived: no other loss is healed then."""

    @seeded.replaces("labkit.runtime.messaging.relay:Relay._mark_sent")
    async def _(self: Relay, message: OutboxMessage) -> None:
        try:
            await self._database.run(outbox.mark_sent, [message.event_id])
            await self._database.run(outbox.mark_settled, [message])
        except Exception:
            relay.log.exception("event %d of %s is not marked", message.event_id, self._service)


settled_at_the_acknowledgement = bug(
    "settled-at-the-acknowledgement",
    "The broker has acknowledged it for all replicas, so it will arrive.",
    "forgotten:order.cancel_by_user.after_commit",
    breaks="settled events arrived",
)
settled_when_sent(settled_at_the_acknowledgement)


marked_before_it_is_sent = bug(
    "marked-before-it-is-sent",
    "Mark it first, so that nobody else sends it too.",
    "cancelled:order.order_cancel.before_send",
    breaks="settled events arrived",
    mirrors=2,
)
settled_when_sent(marked_before_it_is_sent)


@marked_before_it_is_sent.replaces("labkit.runtime.messaging.relay:Relay._send_once")
async def _(self: Relay, message: OutboxMessage) -> None:
    await self._mark_sent(message)
    try:
        await self._carry(message)
    except (BrokerError, Refused) as error:
        await self._postpone([message], tables.UNSENT, str(error))


error_is_printed = bug(
    "send-error-is-printed",
    "If sending fails, the log says so.",
    "cancelled:order.order_cancel.before_send",
    breaks="settled events arrived",
    mirrors=1,
    action="refuse",
)
settled_when_sent(error_is_printed)


@error_is_printed.replaces("labkit.runtime.messaging.relay:Relay._send_once")
async def _(self: Relay, message: OutboxMessage) -> None:
    try:
        await self._carry(message)
    except (BrokerError, Refused) as error:
        relay.log.error("event %d could not be sent: %s", message.event_id, error)
    await self._mark_sent(message)


offset_first = bug(
    "offset-before-the-commit",
    "What was read is taken care of now, so the broker may be told.",
    "cancelled:goods.return_stock.before_commit",
    breaks="settled events arrived",
)
settled_when_sent(offset_first)


@offset_first.replaces("labkit.runtime.messaging.consumer:EventConsumer._poll")
async def _(self: EventConsumer, member: Consumer) -> None:
    deliveries = (await member.poll(0.2)).deliveries
    if not deliveries:
        return
    await member.commit()
    answers = [self._begin(self._first[delivery.topic], delivery) for delivery in deliveries]
    for delivery, answer in zip(deliveries, answers, strict=True):
        try:
            await answer
        except Exception as error:
            await self._keep(delivery, error)


processing_for_ever = bug(
    "processing-for-ever",
    "Write down first that the message is being handled, so that no other worker takes it.",
    "cancelled:goods.return_stock.before_commit",
    breaks="cancelled orders hold nothing",
    mirrors=4,
)


@processing_for_ever.replaces("labkit.runtime.messaging.inbox:guarded")
def _(
    handler: Step[Any, None], event_type: type[Event], upcasts: Upcasts | None = None
) -> Step[Any, None]:
    def handle(tx: Transaction, delivery: Delivery) -> None:
        if inbox._first_time(tx, delivery):
            commit(tx)
            handler.function(tx, known(read(event_type, delivery.body, upcasts)))

    return Step(handle, handler.name)


never_tried_again = bug(
    "failed-row-never-tried-again",
    "A failed message is kept with its cause; somebody will see it.",
    # Of the first message of a lab the audit may send a second one, which is taken.
    "cancelled:goods.return_stock.before_commit",
    "confirm-fails:goods.return_stock.before_commit",
    breaks="order_cancel waits in the inbox of goods",
    mirrors=4,
    action="refuse",
    waits=True,
)


@never_tried_again.replaces("labkit.runtime.messaging.due:find_due")
def _(_tx: Transaction, _command: None) -> due.DueDeliveries:
    return due.DueDeliveries([], None)


poison_blocks = bug(
    "poison-blocks-its-partition",
    "Messages keep their order: the next one has to wait until this one is done.",
    "neighbour",
    breaks="though another message fails",
    waits=True,
)


@poison_blocks.replaces("labkit.runtime.messaging.consumer:EventConsumer._keep")
async def _(self: EventConsumer, delivery: Delivery, error: BaseException) -> None:
    while not self._stopping:
        consumer.log.warning("event %d of %s: %s", delivery.event_id, self._group, error)
        await asyncio.sleep(0.1)
        try:
            return await self._database.run(self._first[delivery.topic], delivery)
        except Exception as again:
            error = again
    return None


def every_delivery_counts(seeded: Bug) -> None:
    """Let the inbox take each delivery for a new event."""

    @seeded.replaces("labkit.runtime.messaging.inbox:_first_time")
    def _(tx: Transaction, delivery: Delivery) -> bool:
        row = inbox._values(tx, delivery)
        tx.insert_once(inbox.inbox, **row, status=tables.DONE, tries=1, next_try=0)
        return True


no_dedup = bug(
    "points-twice",
    "Kafka delivers exactly once, so nobody has to look whether it came before.",
    "slow-paid:user.add_points.after_commit",
    breaks="points are conserved",
    mirrors=4,
)
every_delivery_counts(no_dedup)


@no_dedup.replaces("labkit.shop.users:add_points")
def _(tx: Transaction, event: OrderPaid) -> None:
    operation = claim(tx, "add_points", event, subject_id=event.pay_id)
    points = event.pay_amount // 100
    tx.run(users._add_points(event.user_id, points))
    if not operation.previous_result:
        users._log_points(tx, event.user_id, event.order_id, AccountLogType.PAID, points)
        operation.apply(amount=points)


_open_member = KafkaBroker.open_member  # the right one


def _member_of(self: KafkaBroker, topics: Iterable[str], group: str) -> Member:
    """Make a member of a group of another name."""
    member = _open_member(KafkaBroker(self._config, group), topics)  # in a group of the broker's
    member._group = self._group  # its deliveries are still those of its service
    return member


one_group_for_all = bug(
    "one-group-for-all-services",
    "The shop is the consumer, so its services are of one group.",
    "cancelled:order.cancel_by_user.after_commit",
    breaks="order_cancel",
    mirrors=5,
    waits=True,
)


@one_group_for_all.replaces("labkit.runtime.messaging.kafka:KafkaBroker.open_member")
def _(self: KafkaBroker, topics: Iterable[str]) -> Member:
    return _member_of(self, topics, "shop")


broadcast = bug(
    "broadcast-compensation",
    "Every process must hear that an order is cancelled, so each is a group of its own.",
    "cancelled:goods.return_stock.after_commit",
    breaks="stock is conserved",
    mirrors=5,
)
every_delivery_counts(broadcast)


@broadcast.replaces("labkit.runtime.messaging.kafka:KafkaBroker.open_member")
def _(self: KafkaBroker, topics: Iterable[str]) -> Member:
    return _member_of(self, topics, f"{self._group}-{os.getpid()}")


@broadcast.replaces("labkit.shop.goods:return_stock")
def _(tx: Transaction, event: Event) -> None:
    log = goods.number_log
    deductions = select(log).where(
        log.c.order_id == event.order_id, log.c.direction == LogDirection.DEDUCT
    )
    for row in tx.execute(deductions).all():
        tx.run(goods._return(row.goods_id, row.goods_number))
        back = {
            "goods_id": row.goods_id,
            "order_id": event.order_id,
            "direction": LogDirection.RETURN,
        }
        tx.insert_once(log, **back, goods_number=row.goods_number, log_time=tx.now)
