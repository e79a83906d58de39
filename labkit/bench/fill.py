"""What must be in the databases before a measurement: seeds for the load, orders of the past."""

from typing import Any

from sqlalchemy import text

from labkit.bench.sample import MONEY_PAID, USERS
from labkit.home import Home
from labkit.results import Result
from labkit.runtime.clock import as_time, wall_ms
from labkit.runtime.engines import open_engine
from labkit.runtime.ids import first_of
from labkit.stack.seeds import Seeds

_DAY_MS = 86_400_000
_DAYS = 30
_COUPONS_FROM = 10_000_000  # above those of the bench

_OF_ORDER = "1 + i % 64, :first + i * :step"
_OPERATION = """
INSERT INTO trade_operation (order_id, operation, outcome, amount, body_hash, result, add_time)
SELECT :first + i * :step, '{name}', 'applied', {amount}, hex(randomblob(32)), :answer, :then
FROM numbers
"""

#: service → what fills its tables; `numbers` is 1 to so many.
_STATEMENTS = {
    "order": (
        """
INSERT INTO trade_order (user_id, order_id, order_status, pay_status, shipping_status, address,
  consignee, goods_id, goods_number, goods_price, goods_amount, shipping_fee, order_amount,
  coupon_id, coupon_paid, money_paid, pay_amount, add_time, confirm_time, pay_time)
SELECT {order}, 1, 2, 0, '北京', '刘备', 1, 1, 500000, 500000, 0, 500000,
  :coupons + i, 2000, 498000, 0, :then, :then, :then FROM numbers
""",
        """
INSERT INTO trade_order_request
  (user_id, order_id, idempotency_key, request_hash, answer, add_time)
SELECT {order}, lower(hex(randomblob(16))), hex(randomblob(32)), :answer, :then FROM numbers
""",
        _OPERATION.format(name="save_pre_order", amount=500000),
        _OPERATION.format(name="confirm_order", amount=0),
    ),
    "goods": (
        """
INSERT INTO trade_goods_number_log (goods_id, order_id, direction, goods_number, log_time)
SELECT 1, :first + i * :step, 'deduct', 1, :then FROM numbers
""",
        _OPERATION.format(name="deduct_stock", amount=1),
    ),
    "coupon": (
        """
INSERT INTO trade_coupon (user_id, order_id, coupon_id, coupon_price, is_used, used_time)
SELECT {order}, :coupons + i, 2000, 1, :then FROM numbers
""",
        """
INSERT INTO trade_coupon_log (user_id, order_id, coupon_id, direction, coupon_price, log_time)
SELECT 1 + i % 64, 0, :coupons + i, 'opening', 2000, :then FROM numbers
""",
        """
INSERT INTO trade_coupon_log (user_id, order_id, coupon_id, direction, coupon_price, log_time)
SELECT {order}, :coupons + i, 'use', 2000, :then FROM numbers
""",
        _OPERATION.format(name="use_coupon", amount=2000),
    ),
    "user": (
        """
INSERT INTO trade_user_money_log (user_id, order_id, money_log_type, use_money, create_time)
SELECT {order}, 1, 498000, :then FROM numbers
""",
        _OPERATION.format(name="deduct_balance", amount=498000),
    ),
}
_NUMBERS = (
    "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n)"
)


def seeds_for(orders: int) -> Seeds:
    """What must be there for so many sample orders: a coupon each, and enough stock and money.

    Args:
        orders: how many at most.
    """
    return Seeds(goods=1, users=USERS, coupons=orders, stock=orders, balance=MONEY_PAID * orders)


def fill(home: Home, orders: int) -> None:
    """Write orders of the last month, paid by balance, with all that their steps left behind.

    They are written straight into the tables: placing a million would take an hour.

    Args:
        home: of a lab that is down.
        orders: how many.
    """
    since = wall_ms() - _DAYS * _DAY_MS
    first = first_of(since)
    values: dict[str, Any] = {
        "n": orders, "first": first, "then": str(as_time(since)), "coupons": _COUPONS_FROM,
        "answer": Result[Any].ok().model_dump_json(),
        "step": (first_of(wall_ms() - _DAY_MS) - first) // orders,
    }  # fmt: skip
    for service, statements in _STATEMENTS.items():
        engine = open_engine(home.database_url(service))
        for statement in statements:
            with engine.begin() as connection:
                connection.execute(text(_insert(statement)), values)
        engine.dispose()


def _insert(statement: str) -> str:
    head, _, rest = statement.strip().partition("SELECT")
    return f"{head}{_NUMBERS}SELECT{rest}".replace("{order}", _OF_ORDER)
