"""Tables that are added to a mirror: the shop's wiring, and the ids that are not decided yet."""

import sqlite3

from labkit.ops.invariants.kinds import MESSAGES, VIEWS
from labkit.runtime.db.tables import POISON
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.steps import Event
from labkit.shop.codes import Code
from labkit.shop.messages import OrderCancelled, OrderPaid, OrderRefunded, OrderReturned
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS

#: service → the operations that its steps claim.
OPERATIONS = {
    "order": (
        "save_pre_order",
        "confirm_order",
        "cancel_failed",
        "cancel_expired",
        "cancel_unpaid",
        "cancel_by_user",
        "return_order",
        "record_paid",
    ),
    "goods": ("deduct_stock",),
    "coupon": ("use_coupon",),
    "user": ("deduct_balance", "add_points"),
    "pay": ("accept_payment",),
    "log": ("log_payment",),
}
#: event → the services that send it.
EVENTS: dict[type[Event], tuple[str, ...]] = {
    OrderCancelled: ("order",),
    OrderReturned: ("order",),
    OrderPaid: ("order", "pay"),
    OrderRefunded: ("pay",),
    DeadLetter: tuple(TABLES),
}
_TABLES = """
CREATE TEMP TABLE catalogue (code INTEGER PRIMARY KEY, name TEXT, final INTEGER);
CREATE TEMP TABLE known_operation (service TEXT, operation TEXT, PRIMARY KEY (service, operation));
CREATE TEMP TABLE sends (service TEXT, topic TEXT, tag TEXT, PRIMARY KEY (service, topic));
CREATE TEMP TABLE handles (service TEXT, topic TEXT, PRIMARY KEY (service, topic));
CREATE TEMP TABLE undecided (id INTEGER PRIMARY KEY);
"""
#: Orders with a message in flight; payments about which platform and shop do not agree yet, and
#: their orders; and the payments of all those orders.
_UNDECIDED = (
    """SELECT CAST(msg_key AS INTEGER) FROM outbox
       WHERE service IN ('order', 'pay') AND status IN (0, 1)""",
    "SELECT CAST(msg_key AS INTEGER) FROM inbox WHERE status = 0",
    *(
        f"""SELECT p.{column} FROM pay.trade_pay p
            LEFT JOIN platform.platform_trade t ON t.out_trade_no = p.pay_id
            WHERE p.next_check IS NOT NULL AND p.is_paid <> 1
              AND (p.is_paid = 2 OR t.trade_status = 'TRADE_SUCCESS')"""
        for column in ("pay_id", "order_id")
    ),
    *(
        f"SELECT {column} FROM pay.trade_refund WHERE state = 0"
        for column in ("pay_id", "order_id", "refund_id")
    ),
    "SELECT pay_id FROM pay.trade_pay WHERE order_id IN undecided",
)


def create_tables(mirror: sqlite3.Connection) -> None:
    """Create the tables and views, and fill them from the mirror's snapshots."""
    create_wiring(mirror)
    fill_undecided(mirror)


def fill_undecided(mirror: sqlite3.Connection) -> None:
    """Fill the table of the ids that are not decided in the mirror's snapshots, anew."""
    mirror.execute("DELETE FROM undecided")
    for ids in _UNDECIDED:
        mirror.execute(f"INSERT OR IGNORE INTO undecided {ids}")


def create_wiring(mirror: sqlite3.Connection) -> None:
    """Create all tables and views, and fill those that tell of the shop's wiring."""
    for statement in filter(str.strip, _TABLES.split(";")):
        mirror.execute(statement)
    codes = [(code, code.name, code.is_final) for code in Code]
    mirror.executemany("INSERT INTO catalogue VALUES (?, ?, ?)", codes)
    operations = [(service, name) for service, names in OPERATIONS.items() for name in names]
    mirror.executemany("INSERT INTO known_operation VALUES (?, ?)", operations)
    sends = [(name, event.topic, event.tag) for event, names in EVENTS.items() for name in names]
    mirror.executemany("INSERT INTO sends VALUES (?, ?, ?)", sends)
    handles = [(group, topic) for topic, groups in GROUPS.items() for group in groups]
    mirror.executemany("INSERT INTO handles VALUES (?, ?)", handles)
    for service in TABLES:
        for table in MESSAGES:
            mirror.execute(
                f'CREATE TEMP VIEW "{service}_{table}" AS SELECT * FROM "{service}".{table} '
                f"WHERE tag <> '{POISON}'"
            )
    for view, table in VIEWS.items():
        parts = [f"SELECT '{name}' AS service, * FROM \"{name}\".{table}" for name in TABLES]
        mirror.execute(f"CREATE TEMP VIEW {view} AS {' UNION ALL '.join(parts)}")
