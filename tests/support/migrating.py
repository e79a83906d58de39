"""Migrations that are killed at every statement, one after the other, and run again.

A program for a Python that finds release 1.2 first: `python -m tests.support.migrating HOME`. The
home has databases of release 1.0, and its lab is down. It prints how many statements a phase has.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from itertools import count

from sqlalchemy import Engine, inspect, text

from labkit.faults import points
from labkit.home import Home
from labkit.runtime.db.engines import open_engine
from labkit.stack.migrations.__main__ import migrate
from labkit.stack.migrations.revisions import Phase, Revision, current, parse_release, revisions_of

ORDERS = 1_200  # more than two batches of a copy
_POINT = "helper.migrate.before_statement"
_ORDER = """
INSERT INTO trade_order (order_id, user_id, order_status, pay_status, shipping_status, address,
  consignee, goods_id, goods_number, goods_price, goods_amount, shipping_fee, order_amount,
  coupon_paid, money_paid, pay_amount, add_time)
VALUES (:number, 1, 1, 0, 0, '北京', :consignee, 1, 1, 1, 1, 0, 1, 0, 0, 1, '2026-01-01')
"""
Schema = dict[str, dict[str, tuple[str, bool]]]


class Database:
    """The database of the order service.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._made = self._create_statement()

    def _create_statement(self) -> str:
        engine = self.open()
        with engine.begin() as connection:
            if engine.dialect.name == "mysql":
                row = connection.execute(text("SHOW CREATE TABLE trade_order")).one()
                statement = row[1]
            else:
                query = "SELECT sql FROM sqlite_master WHERE name = 'trade_order'"
                statement = connection.execute(text(query)).scalar_one()
        engine.dispose()
        return str(statement)

    def open(self) -> Engine:
        return open_engine(self._home.database_url("order"))

    def go_back(self) -> None:
        """Be a database of 1.0 again, with its orders."""
        engine = self.open()
        with engine.begin() as connection:
            for table in ("alembic_version", "trade_order_gift_log", "trade_order"):
                connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
            connection.exec_driver_sql(self._made.replace("%", "%%"))
            rows = [{"number": each, "consignee": f"刘备 {each}"} for each in range(1, ORDERS + 1)]
            connection.execute(text(_ORDER), rows)
        engine.dispose()

    def schema(self) -> Schema:
        """Table → column → its type, and whether it may be empty."""
        engine = self.open()
        schema = inspect(engine)
        tables = {
            table: {
                each["name"]: (str(each["type"]), each["nullable"])
                for each in schema.get_columns(table)
            }
            for table in schema.get_table_names()
        }
        engine.dispose()
        return tables

    def state(self) -> tuple[Revision | None, list[tuple[object, ...]]]:
        """The revision that it is at, and its orders with their names."""
        engine = self.open()
        with engine.connect() as connection:
            there = {each["name"] for each in inspect(connection).get_columns("trade_order")}
            names = [each for each in ("consignee", "recipient") if each in there]
            query = f"SELECT order_id, {', '.join(names)} FROM trade_order ORDER BY order_id"
            state = current(connection), [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return state


def attempt(home: Home, to: Revision) -> bool:
    """Migrate in a process of its own; return False where that was killed."""
    pid = os.fork()
    if not pid:
        try:
            migrate(home, "order", str(to))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"the migration to {to} fails: {status}"
    return True


def killed_at_each(
    home: Home, database: Database, done: list[Revision], to: Revision
) -> Iterator[int]:
    """Kill a migration before its first statement, its second and so on; then run it again.

    Yields:
        Which statement it was, when the database is where it should be.
    """
    for statement in count():
        database.go_back()
        for revision in done:
            assert attempt(home, revision)
        points.arm(home, _POINT, "crash", after=statement)
        if attempt(home, to):
            assert points.remaining(home, _POINT), "it was armed, and not met"
            points.disarm(home, _POINT)
            return
        assert attempt(home, to)
        yield statement


def prove(home: Home) -> dict[str, int]:
    """Kill each phase at each statement; return how many there were."""
    database, done, met = Database(home), list[Revision](), {}
    for to in revisions_of("order"):
        database.go_back()
        for revision in (*done, to):
            assert attempt(home, revision)
        schema, state = database.schema(), database.state()
        assert state[0] == to
        assert len(state[1]) == ORDERS
        met[str(to)] = 0
        for statement in killed_at_each(home, database, done, to):
            assert database.schema() == schema, f"{to}, killed before statement {statement}"
            assert database.state() == state, f"{to}, killed before statement {statement}"
            met[str(to)] = statement + 1
        if to == Revision(parse_release("1.1"), Phase.MIGRATE):
            assert all(row[1] == row[2] == f"刘备 {row[0]}" for row in state[1])
        done.append(to)
    return met


if __name__ == "__main__":
    print(json.dumps(prove(Home(sys.argv[1]))))
