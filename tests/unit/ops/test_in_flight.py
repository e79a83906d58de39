"""Stuck items, by the databases alone."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Executable, Table

from labkit.home import Home
from labkit.ops import in_flight, payments_in_flight
from labkit.ops.reader import Reader, Row, Rows
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.tables import notice, trade
from labkit.runtime.clock import as_time, wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.shop.states import PaymentState
from labkit.shop.tables import pay
from labkit.stack.setup.seeds import Seeds, files, seed
from tests.support.console import Console

NOW = datetime(2026, 1, 5)
OVER = 200


class Counting(Reader):
    """A reader that knows how many rows it was given."""

    rows = 0

    def query(self, service: str, statement: Executable) -> Rows:
        rows = super().query(service, statement)
        self.rows += len(rows)
        return rows


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """Databases in which something can be stuck."""
    console = Console(tmp_path)
    yield console
    console.close()


def test_what_a_wrong_clock_put_off_is_stuck(console: Console) -> None:
    """An event that waits for an hour waits by a clock that was ahead; a minute is no matter."""
    now = wall_ms()
    for event_id, next_try in ((1, now + 60_000), (2, now + 3_600_000), (3, now - 60_000)):
        console.stick(event_id, "", last_error=None, next_try=next_try)
    reader = Reader(console.home)
    assert {item["id"] for item in in_flight.stuck_in(reader, "goods")} == {"goods.2", "goods.3"}
    reader.close()


def closed(pay_id: int) -> Row:
    """A payment that is over in the shop: nobody asks about it any more."""
    return {
        "pay_id": pay_id,
        "order_id": pay_id,
        "user_id": 1,
        "pay_amount": 1,
        "is_paid": PaymentState.CLOSED,
        "tries": 0,
        "add_time": NOW,
        "close_time": NOW,
    }


def trade_of(pay_id: int, status: str) -> Row:
    """The same payment at the platform."""
    return {
        "out_trade_no": pay_id,
        "trade_no": pay_id,
        "token": str(pay_id),
        "subject": "",
        "total_amount": 1,
        "refunded_amount": 0,
        "trade_status": status,
        "notify_url": "",
        "time_expire": NOW,
        "add_time": NOW,
    }


def write(home: Home, service: str, table: Table, rows: Rows) -> None:
    engine = open_engine(home.database_url(service))
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
    engine.dispose()


def test_of_payments_only_those_are_read_that_are_not_over(tmp_path: Path) -> None:
    """However many are closed here and there, whoever waits reads the two that may yet change.

    One can still be paid at the platform, the other was paid there and the shop not told of it.
    """
    home = Home(tmp_path).make()
    seed(files(home.databases), Seeds(), as_time(wall_ms()))
    payable, untold, *over = range(1, OVER + 3)
    write(home, "pay", pay, [closed(row) for row in (payable, untold, *over)])
    write(
        home,
        "platform",
        trade,
        [
            trade_of(payable, TradeStatus.WAIT_BUYER_PAY),
            trade_of(untold, TradeStatus.TRADE_SUCCESS),
            *(trade_of(row, TradeStatus.TRADE_CLOSED) for row in over),
        ],
    )
    of_trade = {"out_trade_no": untold, "notify_id": 1, "tries": 0, "next_try": NOW}
    write(home, "platform", notice, [{**of_trade, "add_time": NOW}])
    with closing(Counting(home)) as reader:
        kinds = {item["id"]: item["kind"] for item in payments_in_flight.in_flight(reader)}
        assert kinds == {f"pay.{payable}": "not_asked", f"pay.{untold}": "paid_there"}
        assert reader.rows < OVER
