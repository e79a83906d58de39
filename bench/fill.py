"""The databases before a measurement: seeds for the load, orders of the past."""

from contextlib import closing
from typing import Any

from bench.sample import MONEY_PAID, USERS
from labkit.home import Home
from labkit.ops.invariants.kinds import as_json
from labkit.ops.invariants.mirror import attach, connect
from labkit.results import Result
from labkit.runtime.clock import as_time, wall_ms
from labkit.runtime.registry.ids import first_of
from labkit.shop import messages as m
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS
from labkit.stack.setup.seeds import Seeds

_DAY_MS = 86_400_000
_DAYS = 30
_COUPONS_FROM = 10_000_000  # above those of the bench
_PRICE, _COUPON = 500_000, 2_000
_MONEY = _PRICE - _COUPON

#: What the columns of `numbers` do not say of every order.
_FIXED = {
    "goods_id": "1",
    "goods_number": "1",
    "goods_price": str(_PRICE),
    "shipping_fee": "0",
    "order_amount": str(_PRICE),
    "goods_amount": str(_PRICE),
    "money_paid": str(_MONEY),
    "coupon_paid": str(_COUPON),
    "coupon_price": str(_COUPON),
    "pay_amount": "0",
    "address": "'北京'",
    "consignee": "'刘备'",
    "pay_id": "order_id",
}
_PLACED = as_json(m.PlaceOrder, **_FIXED)
_PAID = as_json(m.OrderPaid, **_FIXED)
_WITH_ID = """'{"success":true,"code":1,"name":"SUCCESS","message":"' || %s
  || '","data":{"order_id":' || order_id || '}}'"""
_NUMBERS = """
CREATE TEMP TABLE numbers AS
WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < :n)
SELECT 1 + i % 64 AS user_id, :first + i * :step AS order_id, :coupons + i AS coupon_id FROM counted
"""


def _operation(service: str, name: str, amount: int, body: str, result: str = ":done") -> str:
    return f"""INSERT INTO "{service}".trade_operation
      (order_id, operation, outcome, amount, body_hash, result, add_time)
      SELECT order_id, '{name}', 'applied', {amount}, sha256({body}), {result}, :then
      FROM numbers"""


def _handled(group: str) -> str:
    return f"""INSERT INTO "{group}".trade_mq_consumer_log (group_name, event_id, topic, tag,
        msg_key, body, body_hash, status, tries, next_try, add_time, done_time)
      SELECT '{group}', order_id + 1, 'paid', 'paid', order_id, {_PAID}, sha256({_PAID}),
        1, 1, 0, :then, :then FROM numbers"""


_STATEMENTS = (
    _NUMBERS,
    """INSERT INTO "order".trade_order (user_id, order_id, order_status, pay_status,
        shipping_status, address, consignee, goods_id, goods_number, goods_price, goods_amount,
        shipping_fee, order_amount, coupon_id, coupon_paid, money_paid, pay_amount, add_time,
        confirm_time, pay_time)
      SELECT user_id, order_id, 1, 2, 0, '北京', '刘备', 1, 1, :price, :price, 0, :price, coupon_id,
        :coupon, :money, 0, :then, :then, :then FROM numbers""",
    f"""INSERT INTO "order".trade_order_request
        (user_id, order_id, idempotency_key, request_hash, answer, add_time)
      SELECT user_id, order_id, lower(hex(randomblob(16))), sha256({_PLACED}),
        {_WITH_ID % "'order ' || order_id || ' is placed'"}, :then FROM numbers""",
    _operation("order", "save_pre_order", _PRICE, as_json(m.PreOrder, **_FIXED, request=_PLACED)),
    _operation(
        "order", "confirm_order", 0, as_json(m.ConfirmPreOrder, **_FIXED), _WITH_ID % "'done'"
    ),
    f"""INSERT INTO "order".trade_mq_producer (event_id, topic, tag, msg_key, body, groups, status,
        tries, next_try, add_time, sent_time, settled_time)
      SELECT order_id + 1, 'paid', 'paid', order_id, {_PAID}, '{",".join(GROUPS["paid"])}', 2,
        0, 1, :then, :then, :then FROM numbers""",
    *(_handled(group) for group in GROUPS["paid"]),
    _operation("order", "record_paid", 0, _PAID),
    _operation("user", "add_points", 0, _PAID),
    _operation("log", "log_payment", 0, _PAID),
    """INSERT INTO log.trade_pay_log (pay_id, direction, order_id, user_id, amount, log_time)
      SELECT order_id, 'paid', order_id, user_id, 0, :then FROM numbers""",
    """INSERT INTO goods.trade_goods_number_log
        (goods_id, order_id, direction, goods_number, log_time)
      SELECT 1, order_id, 'deduct', 1, :then FROM numbers""",
    "UPDATE goods.trade_goods_number_log SET goods_number = goods_number + :n WHERE order_id = 0",
    "UPDATE goods.trade_goods SET goods_number = goods_number + :n WHERE goods_id <> 1",
    _operation("goods", "deduct_stock", 1, as_json(m.DeductStock, **_FIXED)),
    """INSERT INTO coupon.trade_coupon
        (user_id, order_id, coupon_id, coupon_price, is_used, used_time)
      SELECT user_id, order_id, coupon_id, :coupon, 1, :then FROM numbers""",
    *(
        f"""INSERT INTO coupon.trade_coupon_log
        (user_id, order_id, coupon_id, direction, coupon_price, log_time)
      SELECT user_id, {order_id}, coupon_id, '{direction}', :coupon, :then FROM numbers"""
        for order_id, direction in (("0", "opening"), ("order_id", "use"))
    ),
    _operation("coupon", "use_coupon", _COUPON, as_json(m.UseCoupon, **_FIXED)),
    """INSERT INTO "user".trade_user_money_log
        (user_id, order_id, money_log_type, use_money, create_time)
      SELECT user_id, order_id, 1, :money, :then FROM numbers""",
    """UPDATE "user".trade_user_money_log SET use_money = use_money + :money
        * (SELECT count(*) FROM numbers n WHERE n.user_id = trade_user_money_log.user_id)
      WHERE order_id = 0""",
    _operation("user", "deduct_balance", _MONEY, as_json(m.DeductBalance, **_FIXED)),
)


def seeds_for(orders: int) -> Seeds:
    """Return seeds for so many sample orders: a coupon each, enough stock and money.

    Args:
        orders: how many at most.
    """
    return Seeds(goods=1, users=USERS, coupons=orders, stock=orders, balance=MONEY_PAID * orders)


def fill(home: Home, orders: int) -> None:
    """Write orders of the last month, paid by balance, with all that their steps left behind.

    They are written straight into the tables: placing a million would take an hour. Every
    invariant holds of them, and the users have as much money as before.

    Args:
        home: of a lab that is down; its databases are files.
        orders: how many.
    """
    since = wall_ms() - _DAYS * _DAY_MS
    first = first_of(since)
    values: dict[str, Any] = {
        "n": orders,
        "first": first,
        "then": str(as_time(since)),
        "coupons": _COUPONS_FROM,
        "done": Result[None].ok().model_dump_json(),
        "price": _PRICE,
        "coupon": _COUPON,
        "money": _MONEY,
        "step": (first_of(wall_ms() - _DAY_MS) - first) // orders,
    }
    with closing(connect()) as connection:
        for service in TABLES:
            attach(connection, service, home.databases / f"{service}.sqlite", "rw")
        connection.execute("BEGIN")
        for statement in _STATEMENTS:
            connection.execute(statement, values)
        connection.execute("COMMIT")
