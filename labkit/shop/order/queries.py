"""The queries on the order database."""

from datetime import datetime, timedelta

from sqlalchemy import Executable, select

from labkit.results import Result
from labkit.runtime import Transaction, statement, step
from labkit.shop.codes import Code
from labkit.shop.messages import FindOrder, OrderFound, OrderPlaced, PlaceOrder, PreOrder
from labkit.shop.order.answers import undecided
from labkit.shop.order.statements import deadline, exists, find, is_late, kept_answer, may_come
from labkit.shop.states import OrderStatus, PayStatus
from labkit.shop.tables import order

_BATCH = 200


@statement
def _expired(before: int) -> Executable:
    overdue = (order.c.order_status == OrderStatus.UNCONFIRMED) & (order.c.order_id < before)
    return select(order.c.order_id).where(overdue).limit(_BATCH)


@statement
def _unpaid(since: datetime) -> Executable:
    unpaid = (order.c.order_status == OrderStatus.CONFIRMED) & (
        order.c.pay_status == PayStatus.UNPAID
    )
    return select(order.c.order_id).where(unpaid, order.c.confirm_time <= since).limit(_BATCH)


@step(reads=True)
def find_order(tx: Transaction, query: FindOrder) -> Result[OrderFound | OrderPlaced]:
    """Look an order up; an unconfirmed one is not shown, and may still become one.

    "There is none" is final, so it is answered only after that is written: see `may_come`.
    """
    row = tx.first(find(query.order_id))
    if row is None and not may_come(tx, query.order_id):
        text = f"order {query.order_id}: there is no such order"
        return Result[OrderFound].refused(Code.ORDER_NOT_FOUND, text)
    if row is None or row.order_status == OrderStatus.UNCONFIRMED:
        return undecided(query.order_id)
    return Result[OrderFound].ok(OrderFound.model_validate(row._asdict()))


@step(reads=True)
def is_overdue(tx: Transaction, query: FindOrder) -> bool:
    """Return True if an order is not there and, by this process's clock, too late to be saved."""
    return is_late(tx, query.order_id) and not exists(tx, query.order_id)


@step(reads=True)
def find_pre_order(tx: Transaction, query: FindOrder) -> PreOrder | None:
    """Find an order as it was saved unconfirmed, for a flow that runs again after it died."""
    row = tx.first(find(query.order_id))
    if row is None or row.order_status != OrderStatus.UNCONFIRMED:
        return None
    columns = row._asdict()
    request = PlaceOrder(**{field: columns[field] for field in PlaceOrder.model_fields})
    amounts = {field: columns[field] for field in PreOrder.model_fields if field in columns}
    return PreOrder(request=request, **amounts)


@step(reads=True)
def find_answer(tx: Transaction, query: FindOrder) -> Result[OrderPlaced]:
    """Find the final answer to an order's request, if it is decided."""
    return kept_answer(tx, query.order_id)


@step(reads=True)
def find_expired(tx: Transaction, _command: None) -> list[int]:
    """Find unconfirmed orders past their deadline: their flow died, or hangs."""
    return tx.run(_expired(deadline(tx))).column()


@step(reads=True)
def find_unpaid(tx: Transaction, _command: None) -> list[int]:
    """Find confirmed orders whose time to pay is over, by the lab clock."""
    since = tx.now - timedelta(seconds=tx.settings.unpaid_order_ttl)
    return tx.run(_unpaid(since)).column()
