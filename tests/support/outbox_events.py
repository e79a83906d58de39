"""Events in the outbox of the order service."""

from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.steps import step
from labkit.shop.messages import OrderCancelled
from tests.support.store import Store

ORDER = 1001


@step()
def tell(tx: Transaction, orders: list[int]) -> None:
    """Tell that these orders were cancelled."""
    for order_id in orders:
        tx.emit(OrderCancelled(order_id=order_id))


def emit(store: Store, *orders: int) -> list[int]:
    """Tell of some orders; the event ids."""
    store.run(tell, list(orders or (ORDER,)))
    return [row["event_id"] for row in store.rows("trade_mq_producer")]


def sent(store: Store, *orders: int) -> list[int]:
    """The same, acknowledged by the broker."""
    ids = emit(store, *orders)
    store.run(outbox.mark_sent, ids)
    return ids


def ids_of(messages: list[OutboxMessage]) -> list[int]:
    return [message.event_id for message in messages]
