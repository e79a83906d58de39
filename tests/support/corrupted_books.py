"""Ways to spoil what two books must both say: operations, inboxes, logs, the platform's tables.

The names of the values (`:paid`) are those of `ids` in `tests/integration/test_invariants.py`.
"""

from tests.support.corrupted_orders import HEARD, Spoilt, copied

#: The invariant that is to see it → what else cannot but see it, and how the data is spoilt.
SPOILT: Spoilt = {
    "what is free is told as paid": (
        set(),
        [
            ("order", "DELETE FROM trade_mq_producer WHERE topic = 'paid'"),
        ],
    ),
    "what is heard is noted": (
        set(),
        [
            ("order", "UPDATE trade_order SET cancel_time = NULL WHERE order_id = :cancelled"),
        ],
    ),
    "every order has its key": (
        set(),
        [
            (
                "order",
                """UPDATE trade_order_request SET order_id = order_id + 1, answer = NULL
                     WHERE order_id = :order""",
            ),
        ],
    ),
    "an order's operations are about it": (
        set(),
        [
            (
                "order",
                """UPDATE trade_operation SET body_hash = 'x' || substr(body_hash, 2)
                     WHERE order_id = :cancelled AND operation = 'cancel_by_user'""",
            ),
        ],
    ),
    "what ends gives its stock back": (
        set(),
        [
            ("goods", f"DELETE FROM trade_mq_consumer_log WHERE {HEARD}"),
        ],
    ),
    "coupons are conserved": (
        set(),
        [
            ("coupon", "UPDATE trade_coupon SET coupon_price = 200000 WHERE coupon_id = 12"),
        ],
    ),
    "coupon log matches operations": (
        set(),
        [
            (
                "coupon",
                "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :cancelled",
            ),
        ],
    ),
    "what ends gives its coupon back": (
        set(),
        [
            (
                "coupon",
                """UPDATE trade_coupon_log SET log_time = '2026-01-01'
                      WHERE order_id = :cancelled AND direction = 'return'""",
            ),
        ],
    ),
    "what ends gives its balance back": (
        set(),
        [
            ("user", f"DELETE FROM trade_mq_consumer_log WHERE {HEARD}"),
        ],
    ),
    "what ends gives its payment back": (
        set(),
        [
            ("pay", "DELETE FROM trade_operation WHERE order_id = :cancelled"),
        ],
    ),
    "the order hears of its payment": (
        set(),
        [
            ("order", "DELETE FROM trade_operation WHERE order_id = :paid"),
        ],
    ),
    "points hear of payments": (
        set(),
        [
            ("user", "DELETE FROM trade_operation WHERE order_id = :paid"),
        ],
    ),
    "the log hears of payments": (
        set(),
        [
            ("log", "DELETE FROM trade_operation WHERE order_id = :paid"),
        ],
    ),
    "trades are legal": (
        set(),
        [
            ("platform", "UPDATE platform_trade SET pay_time = NULL WHERE out_trade_no = :paid"),
        ],
    ),
    "trades have given back what their refunds say": (
        set(),
        [
            ("platform", "UPDATE platform_trade SET refunded_amount = 0"),
        ],
    ),
    "every end is notified": (
        set(),
        [
            ("platform", "DELETE FROM platform_notice WHERE out_trade_no = :paid"),
        ],
    ),
    "messages are what their service tells": (
        set(),
        [
            ("order", f"UPDATE trade_mq_producer SET tag = 'returned' WHERE {HEARD}"),
        ],
    ),
    "handled messages are for their group": (
        set(),
        [
            ("goods", f"UPDATE trade_mq_consumer_log SET body_hash = 'x' WHERE {HEARD}"),
        ],
    ),
    "dead letters are told": (
        set(),
        [
            ("goods", "UPDATE trade_mq_producer SET msg_key = :order WHERE topic = 'dead_letter'"),
        ],
    ),
    "what is forgotten is noted": (
        set(),
        [
            ("goods", "UPDATE trade_mq_forgotten SET messages = 3 WHERE part = 'inbox'"),
        ],
    ),
    "refusals are of what was asked": (
        set(),
        [
            ("coupon", "UPDATE trade_operation SET body_hash = 'x' WHERE outcome = 'refused'"),
        ],
    ),
    "ids are unique": (
        set(),
        [
            copied("pay", "trade_refund", "pay_id = :returned", pay_id=":paid", refund_id=":order"),
        ],
    ),
    "an order notes its refund": (
        set(),
        [
            ("order", "UPDATE trade_order SET refund_time = NULL WHERE order_status = 4"),
        ],
    ),
    "trades are of the shop's payments": (
        set(),
        [
            ("platform", "UPDATE platform_trade SET trade_no = trade_no + 1"),
        ],
    ),
    "refunds are made as they were asked for": (
        set(),
        [
            ("platform", "UPDATE platform_refund SET out_request_no = out_request_no + 1"),
        ],
    ),
    "only an order that was confirmed is paid for": (
        set(),
        [
            (
                "pay",
                """UPDATE trade_pay SET order_id = (SELECT order_id FROM trade_operation
                   WHERE outcome = 'blocked' AND order_id NOT IN (SELECT order_id FROM trade_pay)
                   ORDER BY order_id LIMIT 1) WHERE pay_id = :given_up""",
            ),
        ],
    ),
    "messages are addressed to who handles them": (
        set(),
        [
            ("order", f"UPDATE trade_mq_producer SET groups = 'goods,nobody' WHERE {HEARD}"),
        ],
    ),
    "nothing is of the future": (
        set(),
        [
            ("log", "UPDATE trade_operation SET add_time = '2050-01-01'"),
        ],
    ),
}
#: Eleven ways in which data was spoilt and nobody saw it, while coupons had no log and requests
#: were not compared.
OTHERS: Spoilt = {
    "one order burns all coupons of its user": (
        {"coupons are conserved", "coupons match operations"},
        [
            (
                "coupon",
                """UPDATE trade_coupon SET is_used = 1, order_id = :unpaid,
                       used_time = '2026-01-01' WHERE user_id = 1""",
            )
        ],
    ),
    "another coupon is used than the order says": (
        {"an order moves what is its user's", "coupons are conserved"},
        [
            (
                "coupon",
                """UPDATE trade_coupon SET is_used = 1, order_id = :unpaid, used_time =
            (SELECT used_time FROM trade_coupon WHERE order_id = :unpaid) WHERE coupon_id = 11""",
            ),
            (
                "coupon",
                """UPDATE trade_coupon SET is_used = 0, order_id = NULL, used_time = NULL
                       WHERE order_id = :unpaid AND coupon_id <> 11""",
            ),
        ],
    ),
    "a coupon is lost": (
        {"coupons are conserved"},
        [("coupon", "DELETE FROM trade_coupon WHERE coupon_id = 12")],
    ),
    "a coupon is minted": (
        {"coupons are conserved"},
        [copied("coupon", "trade_coupon", "coupon_id = 12", coupon_id="99")],
    ),
    "a decided order without its kept answer": (
        {"answers are true"},
        [("order", "UPDATE trade_order_request SET answer = NULL WHERE order_id = :cancelled")],
    ),
    "a refund that was never noted": (
        {"an order notes its refund"},
        [("order", "UPDATE trade_order SET refund_time = NULL WHERE refund_time IS NOT NULL")],
    ),
}
