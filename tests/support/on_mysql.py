"""Stories of a lab on a MariaDB of its own: what only a server shows that locks rows, and bounds a
column."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from labkit.faults.poisoning import MAX_FIELDS
from labkit.lab import Lab
from labkit.lab.lab import NotSettled
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import GROUPS
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.mysqld import server
from tests.support.storyline import placed, quick_lab, remembered

_ORDERS = 40
_SECONDS = 45.0  # for whatever is waited for: only what never comes takes that long

Script = Callable[[Lab, History], None]


def tell(story: Script) -> str:
    """Tell a story on a lab of its own; return what did not hold, or nothing.

    Raises:
        NotHere: there is no MariaDB on this machine.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mysql-") as folder,
        server(Path(folder)) as mysql,
        quick_lab(Path(folder) / "lab", LABKIT_MYSQL=mysql.url) as lab,
    ):
        try:
            with remembered(lab) as history:
                story(lab, history)
        except (AssertionError, NotSettled) as error:
            return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def hold_rows(lab: Lab, history: History) -> None:
    """Hold the row of one kind of goods, and then that of one user: all others go on."""
    lab.reset(goods=2, users=2, stock=100_000, balance=10**9)
    history.begin()
    _order_other_goods(lab, history)
    lab.settle(timeout=60)
    _cancel_for_other_user(lab, history)


def _order_other_goods(lab: Lab, history: History) -> None:
    """Somebody orders the goods that are held, again and again; the other goods are to be had."""
    with lab.faults.row_held("goods", 1) as held, history.buying(clients=4, goods_id=1):
        wait_until(lambda: held.times, "somebody meets the held row", _SECONDS)
        answers = [history.place(goods_id=2, user_id=2) for _ in range(_ORDERS)]
    number = sum(answer.placed for answer in answers)
    text = f"while a row of goods 1 is held, {number} of {_ORDERS} orders of goods 2 are placed"
    assert number > _ORDERS // 2, text


def _cancel_for_other_user(lab: Lab, history: History) -> None:
    """Two users cancel: the one whose row is held gets the money back later, with no try burnt."""
    mine, other = (placed(history, user_id=user, money_paid=5_00) for user in (1, 2))
    with lab.faults.row_held("user", 1) as held:
        history.cancel(mine.order_id, 1)
        wait_until(lambda: held.times, "the event about user 1 meets the held row", _SECONDS)
        history.cancel(other.order_id, 2)
        wait_until(
            lambda: _has_money_back(lab, other.order_id),
            "while a row of user 1 is held, user 2 has the money back",
            _SECONDS,
        )
        tries = wait_until(lambda: _waiting(lab), "the event about user 1 waits", _SECONDS)
        assert tries == [0], f"a held row burns a try: {tries}"
        assert not _has_money_back(lab, mine.order_id), "the row of user 1 was not held"


def send_long_cause(lab: Lab, history: History) -> None:
    """Send a record whose cause is longer than any column; what comes behind it is handled."""
    topic = OrderCancelled.topic
    with lab.faults.poison(topic, MAX_FIELDS) as poison:
        text = "a record whose cause is long is kept by every group, and its partition goes on"
        wait_until(lambda: poison.times == len(GROUPS[topic]), text, _SECONDS)
        history.cancel(placed(history, money_paid=5_00).order_id)


def _has_money_back(lab: Lab, order_id: int | None) -> bool:
    """Return True if the user service has given an order's balance back."""
    with lab.database("user") as connection:
        sql = (
            "SELECT count(*) FROM trade_user_money_log "
            f"WHERE order_id = {order_id} AND money_log_type = 2"
        )
        return bool(connection.exec_driver_sql(sql).scalar() == 1)


def _waiting(lab: Lab) -> list[int]:
    """Return the tries of the events that wait in the user service's inbox."""
    with lab.database("user") as connection:
        sql = "SELECT tries FROM trade_mq_consumer_log WHERE status = 0"
        return [int(tries) for tries in connection.exec_driver_sql(sql).scalars()]
