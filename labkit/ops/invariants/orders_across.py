"""Invariants across databases: orders.

Each database is read in a snapshot of its own, all of one moment as nearly as they can be. A change
that is handed on in between looks like a breach, and is none when the check is repeated.
"""

from labkit.ops.invariants.kinds import across, as_json
from labkit.shop.messages import DeductBalance, DeductStock, UseCoupon

#: service → the operation that deducts, and the amount according to the order `o`.
_DEDUCTIONS = {
    "goods": ("deduct_stock", "goods_number"),
    "coupon": ("use_coupon", "CASE WHEN o.coupon_id IS NOT NULL THEN o.coupon_paid END"),
    "user": ("deduct_balance", "nullif(o.money_paid, 0)"),
}
_COMMANDS = {
    "goods": as_json(DeductStock),
    "coupon": as_json(UseCoupon, coupon_price="coupon_paid"),
    "user": as_json(DeductBalance),
}
#: Each table with an order's id, and the columns that must have the order's values.
_MOVED = (
    ("goods.trade_goods_number_log", "goods_id", "goods_number"),
    ("coupon.trade_coupon", "user_id", "coupon_id"),
    ("coupon.trade_coupon_log", "user_id", "coupon_id"),
    ('"user".trade_user_money_log', "user_id", "user_id"),
    ('"user".trade_user_score_log', "user_id", "user_id"),
    ("pay.trade_pay", "user_id", "pay_amount"),
    ("pay.trade_refund", "user_id", "user_id"),
    ("log.trade_pay_log", "user_id", "user_id"),
)
_WITH_ORDERS = (
    *((table, "order_id") for table, *_ in _MOVED),
    *(
        (f"(SELECT order_id FROM {service}.trade_operation WHERE operation = '{name}')", "order_id")
        for service, name in (
            *((service, name) for service, (name, _) in _DEDUCTIONS.items()),
            ("pay", "accept_payment"),
        )
    ),
)
_IDS = (
    '"order".trade_order_request.order_id',
    "pay.trade_pay.pay_id",
    "pay.trade_refund.refund_id",
    "platform.platform_trade.trade_no",
    "platform.platform_notice.notify_id",
    "outbox.event_id",
)
_ORDERS = 'SELECT count(*) FROM "order".trade_order'


def _union(parts: list[str]) -> str:
    return "\nUNION ALL\n".join(parts)


ACROSS = (
    across(
        "confirmed orders are covered",
        "A confirmed order has its stock, its coupon and its balance, to the piece and the cent.",
        f"{_ORDERS} WHERE order_status = 1",
        _union(
            [
                f"""SELECT 'order ' || o.order_id || ': {service} took '
                || coalesce(p.amount, 'none')
                || ', the order says ' || coalesce({amount}, 'none') AS breach
                FROM "order".trade_order o
                LEFT JOIN "{service}".trade_operation p ON p.order_id = o.order_id
                 AND p.operation = '{name}' AND p.outcome = 'applied'
                WHERE o.order_status = 1 AND p.amount IS NOT {amount}"""
                for service, (name, amount) in _DEDUCTIONS.items()
            ]
        ),
    ),
    across(
        "cancelled orders hold nothing",
        "An order that was cancelled or returned, and whose message went round, keeps nothing.",
        f"{_ORDERS} WHERE order_status IN (2, 4)",
        _union(
            [
                f"""SELECT 'order ' || o.order_id || ': {service} still holds what it took'
                AS breach FROM "order".trade_order o
                JOIN "{service}".trade_operation p ON p.order_id = o.order_id
                 AND p.operation = '{name}' AND p.outcome = 'applied'
                WHERE o.order_status IN (2, 4) AND o.order_id NOT IN undecided"""
                for service, (name, _) in _DEDUCTIONS.items()
            ]
        ),
    ),
    across(
        "nothing without an order",
        "Everything that was ever taken was taken for an order that exists.",
        f"""SELECT {
            " + ".join(
                f"(SELECT count(*) FROM {table} WHERE {key} <> 0)" for table, key in _WITH_ORDERS
            )
        }""",
        _union(
            [
                f"""SELECT 'order ' || {key} || ' does not exist' AS breach FROM {table}
                WHERE {key} <> 0 AND {key} NOT IN (SELECT order_id FROM "order".trade_order)"""
                for table, key in _WITH_ORDERS
            ]
        ),
    ),
    across(
        "coupons keep their owners",
        "A coupon that an order used, or gave back, was its user's, at the price it was used for.",
        f"{_ORDERS} WHERE coupon_id IS NOT NULL",
        """SELECT 'coupon ' || o.coupon_id || ' is of user ' || coalesce(c.user_id, 'nobody')
             || ', and was user ' || o.user_id || '''s at ' || o.coupon_paid AS breach
           FROM "order".trade_order o
           LEFT JOIN coupon.trade_coupon c ON c.coupon_id = o.coupon_id
           WHERE o.coupon_id IS NOT NULL
             AND (c.user_id IS NOT o.user_id OR c.coupon_price <> o.coupon_paid)""",
    ),
    across(
        "an order moves what is its user's",
        "What an order moves (balance, points, coupon, payment, goods) is its own and its user's.",
        f"""SELECT {" + ".join(f"(SELECT count(*) FROM {table})" for table, *_ in _MOVED)}""",
        _union(
            [
                f"""SELECT 'order ' || m.order_id || ': {table.replace('"', "")} has {owner} '
                || m.{owner} || ', {amount} ' || m.{amount} AS breach FROM {table} m
                JOIN "order".trade_order o ON o.order_id = m.order_id
                WHERE m.{owner} <> o.{owner} OR m.{amount} IS NOT o.{amount}"""
                for table, owner, amount in _MOVED
            ]
        ),
    ),
    across(
        "refusals are of what was asked",
        "What a service refused to an order is what the order asked for, to the letter.",
        "SELECT count(*) FROM operation WHERE outcome = 'refused'",
        _union(
            [
                f"""SELECT 'order ' || o.order_id || ' never asked {service} for that' AS breach
                FROM (SELECT order_id, {command} AS body FROM "order".trade_order) o
                JOIN "{service}".trade_operation p ON p.order_id = o.order_id
                 AND p.operation = '{_DEDUCTIONS[service][0]}' AND p.outcome = 'refused'
                WHERE p.body_hash IS NOT sha256(coalesce(o.body, ''))"""
                for service, command in _COMMANDS.items()
            ]
        ),
    ),
    across(
        "ids are unique",
        "No two orders, payments, refunds, events, trades or notices of any service share an id.",
        f"""SELECT {
            " + ".join(f"(SELECT count(*) FROM {id_.rpartition('.')[0]})" for id_ in _IDS)
        }""",
        f"""SELECT 'id ' || id || ' was given ' || count(*) || ' times' AS breach FROM
            ({
            _union(
                [
                    f"SELECT {column} AS id FROM {table}"
                    for table, _, column in (id_.rpartition(".") for id_ in _IDS)
                ]
            )
        })
            GROUP BY id HAVING count(*) > 1""",
    ),
)
