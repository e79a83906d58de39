"""Events in the inbox of the goods service, with a handler that is not safe to repeat."""

from typing import Any

from sqlalchemy import update

from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.steps import step
from labkit.shop.messages import OrderCancelled
from labkit.shop.tables import goods
from tests.support.store import STOCK, Store

ORDER, POISON, NEEDS_ID = 1001, 666, 777
TABLE = "trade_mq_consumer_log"


@step()
def give_one(tx: Transaction, event: OrderCancelled) -> None:
    """A handler that is not safe to repeat: once handled, one piece more. One order is poison,
    and one needs a new id."""
    tx.execute(update(goods).values(goods_number=goods.c.goods_number + 1))
    if event.order_id == POISON:
        raise ZeroDivisionError("poison")
    if event.order_id == NEEDS_ID:
        tx.ids.next()


FIRST = inbox.guarded(give_one, OrderCancelled)
AGAIN = inbox.retried(give_one, OrderCancelled)
BY_HAND = inbox.retried(give_one, OrderCancelled, by_hand=True)


def delivery(
    event_id: int = 1, order_id: int = ORDER, body: str | None = None, tries: int | None = None
) -> Delivery:
    body = body or OrderCancelled(order_id=order_id).model_dump_json()
    return Delivery(
        group="goods",
        event_id=event_id,
        topic="order_cancel",
        tag="cancelled",
        key=str(order_id),
        body=body,
        tries=tries,
    )


def fail(
    store: Store, delivery_: Delivery, error: str = "ZeroDivisionError: poison"
) -> dict[str, Any]:
    """Keep a failure; the row."""
    store.run(inbox.keep_failure, Failure(delivery=delivery_, error=error))
    return store.row(TABLE, event_id=delivery_.event_id)


def given_out(store: Store) -> int:
    """How often the handler has done its work."""
    return store.row("trade_goods")["goods_number"] - STOCK
