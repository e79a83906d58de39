"""Invariants within the databases of goods, coupons and users: what orders deduct."""

from dataclasses import dataclass

from labkit.ops.invariants.inbox_effects import returns_on_end
from labkit.ops.invariants.kinds import Local, as_json
from labkit.results import Message
from labkit.shop.messages import DeductBalance, DeductStock, UseCoupon


@dataclass(frozen=True)
class _Deduction:
    """The deduction of one service: its operation, its log, and their columns."""

    service: str
    unit: str
    operation: str
    command: type[Message]
    log: str
    id_column: str
    amount: str
    direction: str
    deducted: str
    returned: str
    time: str


_STOCK = _Deduction(
    "goods",
    "piece",
    "deduct_stock",
    DeductStock,
    "trade_goods_number_log",
    "goods_id",
    "goods_number",
    "direction",
    "'deduct'",
    "'return'",
    "log_time",
)
_COUPON = _Deduction(
    "coupon",
    "coupon",
    "use_coupon",
    UseCoupon,
    "trade_coupon_log",
    "coupon_id",
    "coupon_price",
    "direction",
    "'use'",
    "'return'",
    "log_time",
)
_MONEY = _Deduction(
    "user",
    "cent",
    "deduct_balance",
    DeductBalance,
    "trade_user_money_log",
    "user_id",
    "use_money",
    "money_log_type",
    "1",
    "2",
    "create_time",
)


def _log_matches(name: str, of: _Deduction) -> Local:
    """Make the invariant that a log and its operations agree."""
    command = as_json(of.command, money_paid="use_money")
    return Local(
        name,
        f"Every {of.unit} taken or given back has its operation, with the same number and time.",
        of.service,
        f"SELECT count(*) FROM {of.log} WHERE order_id <> 0",
        f"""SELECT l.order_id, l.{of.direction} AS kind FROM {of.log} l
            LEFT JOIN trade_operation p ON p.order_id = l.order_id
             AND p.operation = '{of.operation}' AND p.amount = l.{of.amount}
             AND p.outcome IN ('applied', 'undone')
            WHERE l.order_id <> 0 AND (p.order_id IS NULL
               OR l.{of.direction} NOT IN ({of.deducted}, {of.returned})
               OR (l.{of.direction} = {of.returned} AND p.outcome <> 'undone')
               OR (l.{of.direction} = {of.deducted} AND p.add_time <> l.{of.time}))
            UNION ALL
            SELECT p.order_id, p.outcome FROM trade_operation p
            LEFT JOIN (SELECT order_id, {of.id_column} AS thing, {command} AS body FROM {of.log}
                       WHERE {of.direction} = {of.deducted}) t ON t.order_id = p.order_id
            LEFT JOIN {of.log} b ON b.order_id = p.order_id AND b.{of.direction} = {of.returned}
             AND b.{of.id_column} = t.thing
            WHERE p.operation = '{of.operation}'
              AND ((p.outcome IN ('applied', 'undone')) <> (t.order_id IS NOT NULL)
                   OR (p.outcome = 'undone') <> (b.order_id IS NOT NULL)
                   OR p.body_hash <> sha256(t.body))""",
    )


WITHIN = (
    Local(
        "stock is conserved",
        "What is in stock is what it opened with, less what was taken, plus what came back.",
        "goods",
        "SELECT count(*) FROM trade_goods",
        """SELECT g.goods_id, g.goods_number, sum(CASE l.direction WHEN 'deduct'
             THEN -l.goods_number ELSE l.goods_number END) AS logged FROM trade_goods g
           LEFT JOIN trade_goods_number_log l ON l.goods_id = g.goods_id
           GROUP BY g.goods_id HAVING g.goods_number IS NOT logged OR g.goods_number < 0
              OR sum(l.direction = 'opening' AND l.log_time = g.add_time) <> 1
           UNION ALL
           SELECT goods_id, direction, order_id FROM trade_goods_number_log
           WHERE (direction = 'opening') <> (order_id = 0)
              OR goods_id NOT IN (SELECT goods_id FROM trade_goods)""",
    ),
    _log_matches("stock log matches operations", _STOCK),
    returns_on_end("what ends gives its stock back", "goods", "deduct_stock", _STOCK.log),
    Local(
        "coupons are conserved",
        "Every coupon opened once and is as it opened; it is used where the log says by whom.",
        "coupon",
        "SELECT count(*) FROM trade_coupon",
        """SELECT c.coupon_id, c.order_id FROM trade_coupon c
           LEFT JOIN trade_coupon_log l ON l.coupon_id = c.coupon_id
            AND l.user_id = c.user_id AND l.coupon_price = c.coupon_price
           GROUP BY c.coupon_id HAVING sum(l.direction = 'opening') IS NOT 1
              OR sum(l.direction = 'use') - sum(l.direction = 'return') <> c.is_used
              OR c.is_used NOT IN (0, 1)
           UNION ALL
           SELECT l.coupon_id, l.order_id FROM trade_coupon_log l
           LEFT JOIN trade_coupon c ON c.coupon_id = l.coupon_id
            AND c.user_id = l.user_id AND c.coupon_price = l.coupon_price
           WHERE c.coupon_id IS NULL OR (l.direction = 'opening') <> (l.order_id = 0)""",
    ),
    Local(
        "coupons match operations",
        "A coupon is used if and only if the operation of its order says so; it keeps its owner.",
        "coupon",
        "SELECT count(*) FROM trade_coupon",
        """SELECT c.coupon_id AS id, 'coupon' AS what FROM trade_coupon c
           LEFT JOIN trade_operation p ON p.order_id = c.order_id AND p.operation = 'use_coupon'
            AND p.outcome = 'applied' AND p.amount = c.coupon_price
           WHERE (c.is_used = 1) <> (c.order_id IS NOT NULL)
              OR p.add_time IS NOT c.used_time
           UNION ALL
           SELECT p.order_id, 'operation' FROM trade_operation p
           LEFT JOIN trade_coupon c ON c.order_id = p.order_id
           WHERE p.operation = 'use_coupon' AND p.outcome = 'applied' AND c.coupon_id IS NULL
           UNION ALL
           SELECT max(coupon_id), 'coupon' FROM trade_coupon WHERE order_id IS NOT NULL
           GROUP BY order_id HAVING count(*) > 1""",
    ),
    _log_matches("coupon log matches operations", _COUPON),
    returns_on_end("what ends gives its coupon back", "coupon", "use_coupon", _COUPON.log),
    Local(
        "balance is conserved",
        "A balance is what it opened with, less what was paid, plus what was refunded.",
        "user",
        "SELECT count(*) FROM trade_user",
        """SELECT u.user_id, u.user_money, sum(CASE l.money_log_type WHEN 1
             THEN -l.use_money ELSE l.use_money END) AS logged FROM trade_user u
           LEFT JOIN trade_user_money_log l ON l.user_id = u.user_id
           GROUP BY u.user_id HAVING u.user_money IS NOT logged OR u.user_money < 0
              OR sum(l.money_log_type = 0 AND l.create_time = u.user_reg_time) <> 1
           UNION ALL
           SELECT user_id, money_log_type, order_id FROM trade_user_money_log
           WHERE (money_log_type = 0) <> (order_id = 0)
              OR user_id NOT IN (SELECT user_id FROM trade_user)""",
    ),
    _log_matches("money log matches operations", _MONEY),
    returns_on_end("what ends gives its balance back", "user", "deduct_balance", _MONEY.log),
)
