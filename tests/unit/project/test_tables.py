"""The tables, as another database would make them: nothing in them is SQLite's own."""

import pytest
from sqlalchemy import Table, UniqueConstraint, select
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from labkit.runtime.db.tables import RUNTIME_TABLES
from labkit.runtime.db.tables import metadata as runtime_metadata
from labkit.shop.tables import TABLES, goods, metadata

DIALECT = mysql.dialect()
BY_NAME = {table.name: table for tables in TABLES.values() for table in tables}
EVERY = [BY_NAME[name] for name in sorted(BY_NAME)]
each_table = pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)

#: What the specification calls the key of each table: no two rows have the same.
KEYS = {
    "trade_order": {"order_id"},
    "trade_order_request": {"user_id", "idempotency_key"},
    "trade_goods": {"goods_id"},
    "trade_goods_number_log": {"goods_id", "order_id", "direction"},
    "trade_coupon": {"coupon_id"},
    "trade_coupon_log": {"coupon_id", "order_id", "direction"},
    "trade_user": {"user_id"},
    "trade_user_money_log": {"user_id", "order_id", "money_log_type"},
    "trade_user_score_log": {"user_id", "order_id", "score_log_type"},
    "trade_pay": {"open_order_id"},  # one open payment an order
    "trade_refund": {"pay_id"},  # a payment goes back once
    "trade_pay_log": {"pay_id", "direction"},
    "trade_operation": {"order_id", "operation"},
    "trade_mq_producer": {"event_id"},
    "trade_mq_consumer_log": {"group_name", "event_id"},
    "trade_mq_forgotten": {"part"},
}


def keys_of(table: Table) -> list[set[str]]:
    """The primary key and the unique constraints."""
    constraints = [table.primary_key, *table.constraints]
    return [
        {column.name for column in constraint.columns}
        for constraint in constraints
        if constraint is table.primary_key or isinstance(constraint, UniqueConstraint)
    ]


@each_table
def test_it_compiles_for_mysql(table: Table) -> None:
    """Each table and index can be made on MySQL: big integers, microseconds, names quoted."""
    made = str(CreateTable(table).compile(dialect=DIALECT))
    for column in table.columns:
        if column.name.endswith(("_id", "_amount", "_money", "_price")):
            assert f"{column.name} BIGINT" in made
        if column.name.endswith("_time"):
            assert f"{column.name} DATETIME(6)" in made
    assert "AUTO_INCREMENT" not in made
    for index in table.indexes:
        assert index.name in str(CreateIndex(index).compile(dialect=DIALECT))


@each_table
def test_its_key_is_unique(table: Table) -> None:
    """The database itself refuses a second row with the same key: the last line of defence."""
    assert KEYS[table.name] in keys_of(table)
    made = str(CreateTable(table).compile(dialect=DIALECT))
    assert "PRIMARY KEY" in made or "UNIQUE" in made


@each_table
def test_its_key_fits_an_index(table: Table) -> None:
    """MySQL's indexes hold 3,072 bytes, four a letter: every key and index fits."""
    indexed = [
        *keys_of(table),
        *({column.name for column in index.columns} for index in table.indexes),
    ]
    for names in indexed:
        lengths = [getattr(table.c[name].type, "length", None) or 2 for name in names]
        assert sum(lengths) * 4 <= 3072


def test_reserved_words_are_quoted() -> None:
    """A column whose name MySQL 8 keeps for itself is written in quotes."""
    outbox = BY_NAME["trade_mq_producer"]
    assert "`groups`" in str(CreateTable(outbox).compile(dialect=DIALECT))
    assert "`groups`" in str(select(outbox.c.groups).compile(dialect=DIALECT))


def test_names_are_unique() -> None:
    """Index names of SQLite are of the whole database, so no two tables share one."""
    names = [index.name for table in EVERY for index in table.indexes]
    assert len(names) == len(set(names))


def test_every_service_has_the_runtimes_tables() -> None:
    """Operations, outbox and inbox stand in each service's own database; every table somewhere."""
    runtime = {table.name for table in RUNTIME_TABLES}
    for tables in TABLES.values():
        assert runtime <= {table.name for table in tables}
    assert BY_NAME.keys() == {*metadata.tables, *runtime_metadata.tables}


def test_stock_is_changed_relative_to_itself_on_both() -> None:
    """The conditional update that keeps stock from going below zero is plain SQL for each."""
    enough = (goods.c.goods_id == 1) & (goods.c.goods_number >= 2)
    statement = goods.update().where(enough).values(goods_number=goods.c.goods_number - 2)
    for dialect in (DIALECT, sqlite.dialect()):
        text = " ".join(str(statement.compile(dialect=dialect)).split())
        assert "SET goods_number=(trade_goods.goods_number - " in text
        assert "trade_goods.goods_number >= " in text
