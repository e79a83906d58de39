"""The tables as they are, beside a history of what clients were answered: every breach in words."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from labkit.ops.invariants import answers as answer_invariants
from labkit.ops.invariants.mirror import connect
from labkit.ops.reader import DATABASES
from tests.support.db import Row, Tables
from tests.support.money import money_breaches

if TYPE_CHECKING:
    from tests.support.history import Answered, History

CONFIRMED, CANCELLED, RETURNED = 1, 2, 4  # order_status
_TAKEN = {"deduct": 1, "return": -1}  # direction of the number log
_PAID = {1: 1, 2: -1}  # money_log_type
#: What clients are told about.
_ABOUT = {
    "order": ("trade_order", "trade_order_request"),
    "pay": ("trade_pay", "trade_refund"),
    "platform": ("platform_trade",),
}
#: Which orders came of a request, by what it asked for: no id or key of the shop's is believed.
_BY_MARK = """SELECT t.number, o.order_id FROM exchange t JOIN "order".trade_order o
  ON t.kind = 'place' AND substr(t.number, instr(t.number, ' ') + 1) = o.address"""


def breaches(history: "History") -> Iterator[str]:
    """Everything in the tables that does not go with what clients asked for and were told."""
    answers_by_mark: dict[str, list[Answered]] = defaultdict(list)
    for answer in history.answers:
        answers_by_mark[answer.mark].append(answer)
    orders: dict[str, list[Row]] = defaultdict(list)
    for row in history.tables.rows("order", "SELECT * FROM trade_order"):
        orders[row["address"]].append(row)
    held = _Held(history.tables)
    for mark in orders.keys() - answers_by_mark.keys():
        yield f"an order that no client asked for: {mark!r}"
    for mark, answers in answers_by_mark.items():
        for row in orders[mark]:
            yield from _of_order(history, answers[0].body, row, held)
    yield from _told(history)
    yield from _totals(history, [row for rows in orders.values() for row in rows])
    yield from money_breaches(history)


class _Held:
    """The holdings of each order by the logs: taken, less what came back."""

    def __init__(self, tables: Tables) -> None:
        self.stock, self.money, self.coupon = Counter[int](), Counter[int](), Counter[int]()
        for row in tables.rows("goods", "SELECT * FROM trade_goods_number_log WHERE order_id"):
            self.stock[row["order_id"]] += _TAKEN[row["direction"]] * row["goods_number"]
        for row in tables.rows("user", "SELECT * FROM trade_user_money_log WHERE order_id"):
            self.money[row["order_id"]] += _PAID[row["money_log_type"]] * row["use_money"]
        for row in tables.rows("coupon", "SELECT * FROM trade_coupon WHERE is_used"):
            self.coupon[row["order_id"]] += row["coupon_price"]

    def by(self, order_id: int) -> tuple[int, int, int]:
        return self.stock[order_id], self.money[order_id], self.coupon[order_id]


def _told(history: "History") -> Iterator[str]:
    """Compare the answers to clients by labkit's own rules, and name who got no answer."""
    mirror = connect()
    for database, names in _ABOUT.items():
        mirror.execute(f'ATTACH "" AS "{database}"')
        for table in DATABASES[database]:
            if table.name in names:
                copy(history.tables, mirror, database, table)
    answer_invariants.create_tables(mirror, history.exchanges(), _BY_MARK)
    for rule in answer_invariants.ACROSS:
        yield from rule.evaluate(mirror, {}).broken
    mirror.close()
    for answer in history.answers:
        if answer.hung:
            yield f"request {answer.mark!r} (key {answer.key}) was not answered in time"


def copy(tables: Tables, mirror: sqlite3.Connection, database: str, table: Table) -> None:
    """Copy a table as it is to a database on a connection of SQLite."""
    made = str(CreateTable(table).compile(dialect=sqlite.dialect()))
    mirror.execute(made.replace("CREATE TABLE ", f'CREATE TABLE "{database}".', 1))
    names = [column.name for column in table.c]
    rows = tables.rows(database, f"SELECT {', '.join(names)} FROM {table.name}")
    into = f'INSERT INTO "{database}".{table.name} VALUES ({", ".join("?" for _ in names)})'
    mirror.executemany(into, [[row[name] for name in names] for row in rows])


def _of_order(history: "History", body: Row, row: Row, held: _Held) -> Iterator[str]:
    """One order: what it says and what it holds, against what was asked for, to the cent."""
    what, state = f"order {row['order_id']}", row["order_status"]
    for field, wanted in body.items():
        if str(row[field]) != str(wanted):
            yield f"{what}: {field} is {row[field]!r}, and {wanted!r} was asked for"
    coupon = history.coupons[row["coupon_id"]]["coupon_price"] if row["coupon_id"] else 0
    rest = int(body["order_amount"]) - int(body["money_paid"]) - coupon
    if (row["coupon_paid"], row["pay_amount"]) != (coupon, rest):
        yield f"{what}: {row['pay_amount']} is left to pay and should be {rest}"
    expected = _expected_state(history, row)
    if state != expected:
        yield f"{what} is in state {state} and should be in {expected}"
    standing = (row["goods_number"], row["money_paid"], coupon)
    should = standing if state == CONFIRMED else (0, 0, 0)
    if held.by(row["order_id"]) != should:
        has = held.by(row["order_id"])
        yield f"{what} in state {state} holds (stock, money, coupon) {has}, should hold {should}"


def _expected_state(history: "History", row: Row) -> int:
    """Confirmed, unless its client ended it; cancelled where it never was confirmed."""
    if row["confirm_time"] is None:
        return CANCELLED
    wishes = history.ended.get(row["order_id"], [])
    if done := [state for status, state in wishes if status == 200]:
        return done[-1]
    maybe = {state for status, state in wishes if status in (0, 202, 503)}
    if history.unpaid_may_expire and row["pay_status"] == 0:
        maybe.add(CANCELLED)
    state: int = row["order_status"]
    return state if state in maybe else CONFIRMED


def _totals(history: "History", orders: list[Row]) -> Iterator[str]:
    """Stock, balances and coupons, from the opening and the orders that stand."""
    sold, spent, buyer = Counter[int](), Counter[int](), dict[int, int]()
    for row in orders:
        if row["order_status"] == CONFIRMED:
            sold[row["goods_id"]] += row["goods_number"]
            spent[row["user_id"]] += row["money_paid"]
            buyer[row["coupon_id"]] = row["order_id"]
    for row in history.tables.rows("goods", "SELECT * FROM trade_goods"):
        should = history.goods[row["goods_id"]]["goods_number"] - sold[row["goods_id"]]
        if row["goods_number"] != should or should < 0:
            yield f"goods {row['goods_id']}: stock is {row['goods_number']}, should be {should}"
    for row in history.tables.rows("user", "SELECT * FROM trade_user"):
        should = history.users[row["user_id"]]["user_money"] - spent[row["user_id"]]
        if row["user_money"] != should or should < 0:
            yield f"user {row['user_id']}: balance is {row['user_money']}, should be {should}"
    for row in history.tables.rows("coupon", "SELECT * FROM trade_coupon"):
        owner, order_id = history.coupons[row["coupon_id"]]["user_id"], buyer.get(row["coupon_id"])
        if (row["is_used"], row["order_id"]) != (int(order_id is not None), order_id):
            yield f"coupon {row['coupon_id']}: used by {row['order_id']}, should be by {order_id}"
        if row["user_id"] != owner:
            yield f"coupon {row['coupon_id']} lost its owner {owner}"
