"""Steps that do what a test of the runner needs."""

from typing import Any, ClassVar

from sqlalchemy import select, update

from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event, step
from labkit.shop.tables import goods, request, user


@step()
def move(tx: Transaction, way: tuple[int, int]) -> None:
    """Move a cent from one user to another, in this order."""
    for user_id, change in zip(way, (-1, 1), strict=True):
        money = user.c.user_money + change
        tx.execute(update(user).where(user.c.user_id == user_id).values(user_money=money))


@step()
def touch(tx: Transaction, user_id: int) -> None:
    """Give a user a cent."""
    money = user.c.user_money + 1
    tx.execute(update(user).where(user.c.user_id == user_id).values(user_money=money))


@step()
def name_goods(tx: Transaction, name: str) -> None:
    """Rename the goods."""
    tx.execute(update(goods).values(goods_name=name))


@step(reads=True)
def balance(tx: Transaction, user_id: int) -> int:
    """Return the balance of a user."""
    money: Any = tx.execute(select(user.c.user_money).where(user.c.user_id == user_id)).scalar()
    return int(money)


@step(reads=True)
def write_in_a_read(tx: Transaction, _command: None) -> None:
    """Write, although it says that it only reads."""
    tx.execute(update(user).values(user_money=0))


@step()
def note_request(tx: Transaction, command: tuple[str, int]) -> bool:
    """Note which order a key of user 1 stands for; False where the key is there already."""
    key, order_id = command
    row = {"user_id": 1, "idempotency_key": key, "request_hash": "h", "add_time": tx.now}
    return tx.insert_once(request, **row, order_id=order_id)


class Noted(Event):
    """Something to be noted."""

    topic: ClassVar[str] = "noted"


@step()
def note(_tx: Transaction, _event: Noted) -> None:
    """Handle an event, and change nothing."""


ALL = (move, touch, name_goods, note_request, note)
