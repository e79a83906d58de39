"""The first data of the case, or any amount of it, with opening rows in the logs."""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, MetaData, Table, text

import labkit
from labkit.home import DATABASES, sqlite_url
from labkit.payment_platform.tables import PLATFORM_TABLES
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.tables import NOTHING_FORGOTTEN, forgotten
from labkit.shop import tables as t
from labkit.shop.states import AccountLogType, LogDirection
from labkit.stack.boundaries import Cross, uncrossed
from labkit.stack.migrations.revisions import revisions_of, stamp
from labkit.stack.setup.amounts import MANY, MUCH

_HERE = Path(labkit.__file__).parent
#: A row of a table, by column.
Row: TypeAlias = dict[str, Any]
_MOBILE = "13800000000"
_ANSWER_S = 60.0  # for a million rows
_ALONE_S = 30


class Seeds(BaseModel):
    """The amount of data to seed; None takes what the case begins with.

    Attributes:
        goods: kinds of goods, with ids from 1.
        users: users, with ids from 1.
        stock: pieces of each kind.
        balance: cents of each user.
        coupons: coupons of 20.00, with ids from 1, dealt to the users in turn.
    """

    model_config = ConfigDict(frozen=True)

    goods: int | None = Field(default=None, ge=1, le=MANY)
    users: int | None = Field(default=None, ge=1, le=MANY)
    stock: int | None = Field(default=None, ge=0, le=MUCH)
    balance: int | None = Field(default=None, ge=0, le=MUCH)
    coupons: int | None = Field(default=None, ge=0, le=MANY)


def first_data(name: str) -> list[Row]:
    """Read the rows of one CSV file of `data/`, whole numbers as such."""
    folder = _HERE.parent / "data"
    folder = folder if folder.exists() else _HERE / "_data"
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [
            {
                field: int(value) if value.isdecimal() and field != "user_mobile" else value
                for field, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def files(folder: Path) -> dict[str, str]:
    """Map each service to the URL of its SQLite file in a folder."""
    return {name: sqlite_url(folder, name) for name in DATABASES}


def seed(urls: Mapping[str, str], seeds: Seeds, now: datetime, cross: Cross = uncrossed) -> None:
    """Make the tables of each service's database anew, and put the seeds in.

    Args:
        urls: service → URL of its database, which is emptied.
        seeds: the amount of data.
        now: business time of the opening rows.
        cross: called with the name of each boundary.
    """
    rows = rows_of(seeds, now)

    def fill_one(service: str, tables: tuple[Table, ...]) -> None:
        cross("helper.seed_database.before_work")
        engine = open_engine(urls[service], seconds=_ANSWER_S)
        with engine.begin() as connection:
            _be_alone(connection)
            fill(connection, tables, rows)
            if revisions := revisions_of(service):
                stamp(connection, revisions[-1])
        engine.dispose()
        cross("helper.seed_database.after_work")

    databases = {**t.TABLES, "platform": PLATFORM_TABLES}
    with ThreadPoolExecutor(len(databases)) as pool:  # most of it is waiting for the disk
        list(pool.map(fill_one, databases, databases.values()))


def _be_alone(connection: Connection) -> None:
    """Wait until no session works on a schema any more for a helper that was killed.

    A MySQL server finishes the statement of a client before it notices that the client is gone: a
    table could be dropped after it was made anew. The lock goes with the session that has it.

    Raises:
        TimeoutError: somebody else fills this schema.
    """
    if connection.dialect.name != "mysql":
        return
    query = text("SELECT GET_LOCK(CONCAT('seeding ', DATABASE()), :seconds)")
    if not connection.execute(query, {"seconds": _ALONE_S}).scalar_one():
        raise TimeoutError(f"somebody else puts first data into {connection.engine.url.database}")


def _insert(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def fill(connection: Connection, tables: Sequence[Table], rows: Mapping[str, list[Row]]) -> None:
    """Make the tables of one database anew, and put rows in.

    Args:
        connection: to the database, which is emptied.
        tables: of the database.
        rows: table → its rows, of `rows_of`.
    """
    there = MetaData()
    there.reflect(connection)  # also what another release has made
    there.drop_all(connection)
    tables[0].metadata.create_all(connection, tables)
    for table in tables:
        _insert(connection, table, rows.get(table.name, []))


def rows_of(seeds: Seeds, now: datetime) -> dict[str, list[Row]]:
    """Return the first rows of each table.

    Args:
        seeds: the amount of data.
        now: business time of the opening rows.
    """
    goods, users = _goods(seeds, now), _users(seeds, now)
    opening = {"order_id": 0, "direction": LogDirection.OPENING, "log_time": now}
    stock = [
        {**opening, "goods_id": good["goods_id"], "goods_number": good["goods_number"]}
        for good in goods
    ]
    log = {"order_id": 0, "create_time": now}
    money = [
        {
            **log,
            "user_id": user["user_id"],
            "money_log_type": AccountLogType.OPENING,
            "use_money": user["user_money"],
        }
        for user in users
    ]
    score = [
        {
            **log,
            "user_id": user["user_id"],
            "score_log_type": AccountLogType.OPENING,
            "use_score": user["user_score"],
        }
        for user in users
    ]
    coupons = _coupons(seeds, users)
    kept = ("coupon_id", "user_id", "coupon_price")
    coupon_log = [{**opening, **{column: coupon[column] for column in kept}} for coupon in coupons]
    return {
        "trade_goods": goods,
        "trade_goods_number_log": stock,
        "trade_user": users,
        "trade_user_money_log": money,
        "trade_user_score_log": score,
        "trade_coupon": coupons,
        "trade_coupon_log": coupon_log,
        forgotten.name: NOTHING_FORGOTTEN,
    }


def _goods(seeds: Seeds, now: datetime) -> list[Row]:
    case = first_data("goods")
    if seeds.goods is not None:
        case = [
            {**case[0], "goods_id": number, "goods_name": f"goods {number}"}
            for number in range(1, seeds.goods + 1)
        ]
    stock = {} if seeds.stock is None else {"goods_number": seeds.stock}
    return [{**goods, **stock, "add_time": now} for goods in case]


def _users(seeds: Seeds, now: datetime) -> list[Row]:
    case = first_data("users")
    if seeds.users is not None:
        case = [
            {**case[0], "user_id": number, "user_name": f"user {number}", "user_mobile": _MOBILE}
            for number in range(1, seeds.users + 1)
        ]
    balance = {} if seeds.balance is None else {"user_money": seeds.balance}
    return [{**user, **balance, "user_reg_time": now} for user in case]


def _coupons(seeds: Seeds, users: list[Row]) -> list[Row]:
    case = first_data("coupons")
    if seeds.coupons is not None:
        ids = [user["user_id"] for user in users]
        case = [
            {**case[0], "coupon_id": number, "user_id": ids[(number - 1) % len(ids)]}
            for number in range(1, seeds.coupons + 1)
        ]
    owners = {user["user_id"] for user in users}
    return [
        {**coupon, "order_id": None, "is_used": 0, "used_time": None}
        for coupon in case
        if coupon["user_id"] in owners
    ]
