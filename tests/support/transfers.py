"""Steps that move money or fail, and the database runners that run them."""

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from labkit.runtime.db.database import Database
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event, step
from labkit.shop.messages import OrderCancelled
from labkit.shop.tables import goods, user
from tests.support.asking import submit
from tests.support.store import Store

OpenDatabase = Callable[[str], tuple[Database, Store]]
#: The events that were handed to the relay since a test began, with their ids.
TOLD: list[tuple[int, Event, str]] = []


def run(database: Database, which: Any, command: Any) -> Any:
    return submit(database, which, command).result(timeout=60)


def balances(store: Store) -> list[int]:
    return [row["user_money"] for row in store.rows("trade_user")]


@step()
def move(tx: Transaction, cents: int) -> None:
    """Move cents from user 1 to user 2."""
    for user_id, change in ((1, -cents), (2, cents)):
        values = {"user_money": user.c.user_money + change}
        tx.execute(update(user).where(user.c.user_id == user_id).values(**values))


@step()
def spend(tx: Transaction, cents: int) -> None:
    """Read the balance of user 1 and write it back lowered: correct only if nobody is between."""
    balance = tx.execute(select(user.c.user_money).where(user.c.user_id == 1)).scalar_one()
    tx.execute(update(user).where(user.c.user_id == 1).values(user_money=balance - cents))


@step()
def tell_and_fail(tx: Transaction, _command: None) -> None:
    """Change, tell, and raise."""
    tx.execute(update(goods).values(goods_number=0))
    tx.emit(OrderCancelled(order_id=1))
    raise ZeroDivisionError("at the very end")


@step()
def locked_once(tx: Transaction, tries: list[int]) -> None:
    """Fail with a lock at the first try, after having written."""
    move(tx, 1)
    tries.append(1)
    if len(tries) == 1:
        raise OperationalError("commit", None, sqlite3.OperationalError("database is locked"))


@step()
def broken(_tx: Transaction, error: tuple[str, list[int]]) -> None:
    """Fail with an error of the database, always."""
    error[1].append(1)
    raise OperationalError("commit", None, sqlite3.OperationalError(error[0]))


#: Those that are no step of the product, and can fail at a failpoint all the same.
OWN_STEPS = (move, spend, tell_and_fail, locked_once, broken)
