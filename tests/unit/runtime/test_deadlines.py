"""A start of a service makes due what a clock that was hours ahead has postponed."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column

from labkit.runtime.db.tables import inbox as inbox_table
from labkit.runtime.db.tables import outbox as outbox_table
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import addresses, inbox
from labkit.runtime.messaging.addresses import Subscriptions
from labkit.runtime.messaging.deadlines import RUNTIME_DEADLINES
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.steps import step
from labkit.shop.messages import OrderCancelled
from labkit.shop.tables import TABLES, pay, refund
from labkit.shop.wiring import GROUPS, SERVICES
from tests.support import paying
from tests.support.store import OpenStore, Store

HOURS_MS, SOON_MS = 5 * 3600 * 1000, 30_000
ORDER = 1001


@step()
def cancel(tx: Transaction, order_id: int) -> None:
    """Emit an event."""
    tx.emit(OrderCancelled(order_id=order_id))


def fail(store: Store) -> None:
    """Keep an event that could not be handled."""
    event = OrderCancelled(order_id=ORDER)
    kept = Delivery(
        group="pay",
        event_id=1,
        topic=event.topic,
        tag=event.tag,
        key=str(ORDER),
        body=event.model_dump_json(),
    )
    store.run(inbox.keep_failure, Failure(delivery=kept, error="poison"))


#: column → what leaves one row in the pay database that is tried again.
ROWS: dict[Column[Any], Callable[[Store], object]] = {
    outbox_table.c.next_try: lambda store: store.run(cancel, ORDER),
    inbox_table.c.next_try: fail,
    pay.c.next_check: paying.opened,
    refund.c.next_try: paying.refunding,
}
DEADLINES = (*RUNTIME_DEADLINES, *SERVICES["pay"].deadlines)


def restarted(store: Store, column: Column[Any], ahead_ms: int) -> int:
    """Put a row off, and start the service anew; the milliseconds until its next try."""
    at = store.wall_ms() + ahead_ms
    with store._begin() as connection:
        assert connection.execute(column.table.update().values({column: at})).rowcount == 1
    store.run(addresses.readdress, Subscriptions(GROUPS, since=0, deadlines=DEADLINES))
    return int(store.row(column.table.name)[column.name]) - store.wall_ms()


@pytest.mark.parametrize("column", ROWS, ids=str)
def test_what_is_due_in_hours_is_due_now(open_store: OpenStore, column: Column[Any]) -> None:
    """No schedule postpones anything by so much: the clock was ahead, and was set right since."""
    store = open_store("pay")
    ROWS[column](store)
    assert restarted(store, column, HOURS_MS) == 0


@pytest.mark.parametrize("column", ROWS, ids=str)
def test_what_is_due_soon_stays_as_it_is(open_store: OpenStore, column: Column[Any]) -> None:
    """A start does not hurry what a schedule has postponed."""
    store = open_store("pay")
    ROWS[column](store)
    assert restarted(store, column, SOON_MS) == SOON_MS


def test_no_deadline_of_a_table_is_left_out() -> None:
    """Every column of a wall clock that says when a row is tried is known at a start."""
    due = {
        column
        for tables in TABLES.values()
        for table in tables
        for column in table.c
        if column.name in ("next_try", "next_check")
    }
    assert {deadline.column for deadline in DEADLINES} == due == set(ROWS)
