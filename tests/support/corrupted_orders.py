"""Ways to spoil what must be true of orders, stock, coupons, balances and messages.

The names of the values (`:order`) are those of `ids` in `tests/integration/test_invariants.py`.
"""

from labkit.ops.reader import DATABASES

#: Database and SQL, one after the other.
Changes = list[tuple[str, str]]
#: What is spoilt, or the invariant that is to see it → those that cannot but see it, and how.
Spoilt = dict[str, tuple[set[str], Changes]]

#: No change of the data: a minute passes in which nobody does anything.
LATER = ("", "")
#: What else would be overdue by then.
PUT_OFF = ("pay", "UPDATE trade_pay SET next_check = 1 << 60 WHERE pay_id = :open")
A_MINUTE_AGO = f"order_id - {60_000 << 22}"


def copied(database: str, table: str, where: str, **changed: str) -> tuple[str, str]:
    """Insert a copy of a row with some columns changed, as SQL."""
    (table_,) = [candidate for candidate in DATABASES[database] if candidate.name == table]
    names = ", ".join(column.name for column in table_.c)
    values = ", ".join(changed.get(column.name, column.name) for column in table_.c)
    return database, f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {where}"


def told_twice(topic: str) -> tuple[str, str]:
    """Insert another message of a topic, addressed to nobody."""
    database = "order" if topic.startswith("order") else "pay"
    where = f"topic = '{topic}' LIMIT 1"
    return copied(database, "trade_mq_producer", where, event_id="event_id + 1", groups="''")


HEARD = "topic = 'order_cancel' AND msg_key = :cancelled"
SPOILT: Spoilt = {
    "amounts add up": (
        set(),
        [
            ("order", "UPDATE trade_order SET shipping_fee = shipping_fee + 1"),
        ],
    ),
    "states are legal": (
        set(),
        [
            ("order", "UPDATE trade_order SET order_status = 3 WHERE order_id = :unpaid"),
        ],
    ),
    "order states match operations": (
        set(),
        [
            (
                "order",
                """DELETE FROM trade_operation
                     WHERE order_id = :cancelled AND operation = 'cancel_by_user'""",
            ),
        ],
    ),
    "an end is told once": (set(), [told_twice("order_cancel")]),
    "answers are true": (
        set(),
        [
            (
                "order",
                """UPDATE trade_order_request SET answer = '{"success":false}'
                     WHERE order_id = :order""",
            ),
        ],
    ),
    "one order a coupon": (
        set(),
        [
            (
                "order",
                """UPDATE trade_order SET coupon_id =
                     (SELECT coupon_id FROM trade_order WHERE order_id = :unpaid)
                     WHERE order_id = :order""",
            ),
        ],
    ),
    "stock is conserved": (
        set(),
        [
            ("goods", "UPDATE trade_goods SET goods_number = goods_number + 1"),
        ],
    ),
    "stock log matches operations": (
        set(),
        [
            ("goods", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :cancelled"),
        ],
    ),
    "coupons match operations": (
        set(),
        [
            (
                "coupon",
                """UPDATE trade_coupon SET is_used = 0, order_id = NULL
                      WHERE order_id = :unpaid""",
            ),
        ],
    ),
    "balance is conserved": (
        set(),
        [
            ("user", "UPDATE trade_user SET user_money = user_money + 1"),
        ],
    ),
    "money log matches operations": (
        set(),
        [
            (
                "user",
                """UPDATE trade_operation SET amount = amount + 1
                    WHERE order_id = :cancelled AND operation = 'deduct_balance'""",
            ),
        ],
    ),
    "points are conserved": (
        set(),
        [
            ("user", "UPDATE trade_user SET user_score = user_score + 1"),
        ],
    ),
    "operations have ended": (
        set(),
        [
            ("goods", "UPDATE trade_operation SET result = '' WHERE order_id = :order"),
        ],
    ),
    "messages end or say why": (
        set(),
        [
            ("goods", f"UPDATE trade_mq_consumer_log SET done_time = NULL WHERE {HEARD}"),
        ],
    ),
    "nothing is given up": (
        set(),
        [
            (
                "goods",
                f"""UPDATE trade_mq_consumer_log SET status = 2, done_time = NULL,
                      last_error = 'it failed' WHERE {HEARD}""",
            ),
        ],
    ),
    "every order is decided": (
        set(),
        [
            copied(
                "order",
                "trade_order",
                "order_id = :unpaid",
                order_id=A_MINUTE_AGO,
                order_status="0",
                confirm_time="NULL",
            ),
            copied(
                "order",
                "trade_operation",
                "order_id = :unpaid AND operation = 'save_pre_order'",
                order_id=A_MINUTE_AGO,
            ),
        ],
    ),
    "confirmed orders are covered": (
        set(),
        [
            ("goods", "UPDATE trade_goods SET goods_number = goods_number - 1"),
            ("goods", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :unpaid"),
            (
                "goods",
                """UPDATE trade_goods_number_log SET goods_number = goods_number + 1
                     WHERE order_id = :unpaid""",
            ),
        ],
    ),
    "cancelled orders hold nothing": (
        set(),
        [
            ("goods", "UPDATE trade_goods SET goods_number = goods_number - 1"),
            ("goods", "UPDATE trade_operation SET outcome = 'applied' WHERE order_id = :cancelled"),
            (
                "goods",
                """DELETE FROM trade_goods_number_log
                     WHERE order_id = :cancelled AND direction = 'return'""",
            ),
        ],
    ),
    "nothing without an order": (
        set(),
        [
            ("pay", "UPDATE trade_pay SET order_id = 17 WHERE pay_id = :given_up"),
        ],
    ),
    "coupons keep their owners": (
        set(),
        [
            ("coupon", "UPDATE trade_coupon SET user_id = 77 WHERE order_id IS NULL"),
        ],
    ),
    "settled events arrived": (
        set(),
        [
            ("goods", f"DELETE FROM trade_mq_consumer_log WHERE {HEARD}"),
        ],
    ),
    "events come from an outbox": (
        set(),
        [
            copied("goods", "trade_mq_consumer_log", HEARD, event_id="event_id + 1"),
        ],
    ),
    "messages arrive as they were told": (
        set(),
        [
            ("goods", f"UPDATE trade_mq_consumer_log SET body = body || ' ' WHERE {HEARD}"),
        ],
    ),
    "an order moves what is its user's": (
        set(),
        [
            ("pay", "UPDATE trade_pay SET user_id = 77 WHERE pay_id = :paid"),
        ],
    ),
    "messages arrive in time": (
        set(),
        [
            (
                "order",
                f"""UPDATE trade_mq_producer SET status = 1, settled_time = NULL
                      WHERE {HEARD}""",
            ),
            PUT_OFF,
            LATER,
        ],
    ),
    "nothing is forgotten": (set(), [LATER]),
}
