"""One service's database in memory: what a step needs, with clocks that the test moves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, bindparam

from labkit.payment_platform import notices
from labkit.payment_platform.tables import PLATFORM_TABLES
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.clock import LabClock, wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.tables import NOTHING_FORGOTTEN, forgotten
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.outbox import OutboxMessage
from labkit.runtime.registry.files import ReservedFile
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.leases import ReservingLease
from labkit.runtime.rpc.contract import methods_of
from labkit.runtime.steps import Event, Step
from labkit.settings import Settings
from labkit.shop.states import AccountLogType, LogDirection
from labkit.shop.tables import TABLES as SHOP_TABLES
from labkit.shop.wiring import GROUPS, SERVICES

NOON = datetime(2026, 1, 1, 12)
PRICE, STOCK, COUPON, BALANCE, POINTS = 60_00, 10, 20_00, 900_00, 100

USERS = [
    {
        "user_id": number,
        "user_name": f"user {number}",
        "user_mobile": "13800000000",
        "user_score": POINTS,
        "user_reg_time": NOON,
        "user_money": BALANCE,
    }
    for number in (1, 2)
]
_OPENING = {"order_id": 0, "create_time": NOON}

#: Goods 1, users 1 and 2, coupon 1 of user 1 and coupon 2 of user 2, with their opening rows.
ROWS: dict[str, list[dict[str, Any]]] = {
    "trade_goods": [
        {
            "goods_id": 1,
            "goods_name": "华为P30",
            "goods_number": STOCK,
            "goods_price": PRICE,
            "goods_desc": "",
            "add_time": NOON,
        }
    ],
    "trade_goods_number_log": [
        {
            "goods_id": 1,
            "order_id": 0,
            "direction": LogDirection.OPENING,
            "goods_number": STOCK,
            "log_time": NOON,
        }
    ],
    "trade_coupon": [
        {
            "coupon_id": number,
            "coupon_price": COUPON,
            "user_id": number,
            "order_id": None,
            "is_used": 0,
            "used_time": None,
        }
        for number in (1, 2)
    ],
    "trade_coupon_log": [
        {
            "coupon_id": number,
            "order_id": 0,
            "direction": LogDirection.OPENING,
            "user_id": number,
            "coupon_price": COUPON,
            "log_time": NOON,
        }
        for number in (1, 2)
    ],
    "trade_user": USERS,
    "trade_user_money_log": [
        {
            **_OPENING,
            "user_id": user["user_id"],
            "money_log_type": AccountLogType.OPENING,
            "use_money": BALANCE,
        }
        for user in USERS
    ],
    "trade_user_score_log": [
        {
            **_OPENING,
            "user_id": user["user_id"],
            "score_log_type": AccountLogType.OPENING,
            "use_score": POINTS,
        }
        for user in USERS
    ],
    forgotten.name: NOTHING_FORGOTTEN,
}

#: service → the tables of its database; the third party's among them.
TABLES = {**SHOP_TABLES, PLATFORM.name: PLATFORM_TABLES}
_WRITERS = {PLATFORM.name: notices.write}

Row = dict[str, Any]
Rows = list[Row]


class Store:
    """The database of one service, seeded, and the clocks and ids of its process.

    In memory its clocks stand still, so that nothing depends on how busy the machine is. A file is
    shared with real runners, so there the wall clock runs.

    Attributes:
        events: the events of all steps that have committed, with their ids.

    Args:
        service: whose tables.
        folder: for the lab clock and the lease of the worker number.
        url: of the database; in memory where none is given.
    """

    def __init__(self, service: str, folder: Path, url: str = "sqlite://") -> None:
        self.service = service
        self.settings = Settings()
        self.engine = open_engine(url)
        self.clock = LabClock(folder / "clock.json")
        self.clock.stop(NOON)
        self._late_ms = 0
        self._stands_at = wall_ms() if url == "sqlite://" else None
        self.ids = IdMaker(
            ReservingLease(ReservedFile(folder / "0.reserved"), 0, 60_000), self.wall_ms
        )
        self.events: list[tuple[int, Event]] = []
        self._write_outbox = _WRITERS.get(service) or outbox.event_writer(GROUPS)
        # taking a connection from the pool costs more than most steps do
        self._kept = self.engine.connect() if url == "sqlite://" else None
        contract = SERVICES[service].contract if service in SERVICES else None
        self._methods = methods_of(contract) if contract else {}
        with self.engine.begin() as connection:
            for table in TABLES[service]:
                table.create(connection)
                if table.name in ROWS:
                    connection.execute(table.insert(), ROWS[table.name])

    def wall_ms(self) -> int:
        """The wall clock, as far as `wait` has moved it."""
        return (self._stands_at or wall_ms()) + self._late_ms

    def wait(self, seconds: float) -> None:
        """Let time pass, by the wall clock and by the lab clock."""
        self.wait_by_the_wall(seconds)
        self.clock.advance(timedelta(seconds=seconds))

    def wait_by_the_wall(self, seconds: float) -> None:
        """Let time pass by the wall clock alone."""
        self._late_ms += int(seconds * 1000)

    def run(self, step: Step[Any, Any], command: Any) -> Any:
        """Run a step and commit, outbox included; what it raises leaves nothing."""
        with self._begin() as connection:
            tx = Transaction(connection, self.clock.now(), self.wall_ms(), self.ids, self.settings)
            answer = step(tx, command)
            self._write_outbox(tx)
        self.events += tx.emitted
        if method := self._methods.get(step.name):  # what a caller gets must be able to travel
            assert (
                method.answer.validate_json(method.answer.dump_json(answer, warnings=False))
                is not None
            )
        return answer

    def rows(self, table: str, **where: Any) -> Rows:
        """The rows of a table whose columns have these values, in the order of their insertion."""
        [table_] = [candidate for candidate in TABLES[self.service] if candidate.name == table]
        with self._begin() as connection:
            rows = connection.execute(_select(table_, tuple(where)), where)
            return [dict(row._mapping) for row in rows]

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        if self._kept is None:
            with self.engine.begin() as connection:
                yield connection
        else:
            with self._kept.begin():
                yield self._kept

    def row(self, table: str, **where: Any) -> Row:
        """The one row of a table whose columns have these values."""
        [row] = self.rows(table, **where)
        return row

    def everything(self) -> dict[str, Rows]:
        """All rows of all tables, to be compared before and after."""
        return {table.name: self.rows(table.name) for table in TABLES[self.service]}

    def business(self) -> dict[str, Rows]:
        """The same without the rows of operations."""
        return {name: rows for name, rows in self.everything().items() if name != "trade_operation"}

    def outcome(self, operation: str, order_id: int) -> tuple[str, int]:
        """Outcome and recorded amount of an operation."""
        row = self.row("trade_operation", operation=operation, order_id=order_id)
        return row["outcome"], row["amount"]

    def emitted(self) -> list[tuple[str, str]]:
        """Topic and key of the events in the outbox."""
        return [(row["topic"], row["msg_key"]) for row in self.rows("trade_mq_producer")]


@cache
def _select(table: Table, columns: tuple[str, ...]) -> Any:
    return table.select().where(*(table.c[name] == bindparam(name) for name in columns))


def audited(store: Store, *event_ids: int) -> list[OutboxMessage]:
    """The events of an outbox as an audit takes them now, to ask the groups that they are for."""
    rows = [store.row("trade_mq_producer", event_id=event_id) for event_id in event_ids]
    return [
        OutboxMessage(
            row["event_id"],
            row["topic"],
            row["tag"],
            row["msg_key"],
            row["body"],
            tuple(filter(None, row["groups"].split(","))),
            tries=row["tries"],
        )
        for row in rows
    ]


OpenStore = Callable[[str], Store]


def outstanding(store: Store, order_id: int) -> int:
    """The pieces that the number log says are taken for an order and not given back."""
    signs = {LogDirection.DEDUCT: 1, LogDirection.RETURN: -1, LogDirection.OPENING: 0}
    log = store.rows("trade_goods_number_log", order_id=order_id)
    return sum(signs[row["direction"]] * row["goods_number"] for row in log)
