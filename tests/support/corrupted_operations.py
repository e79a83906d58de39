"""More ways to break what a guarantee rests on: operations, logs and messages of orders."""

from tests.support.corrupted_orders import HEARD, Spoilt

#: More ways to break what a guarantee rests on.
OTHERS: Spoilt = {
    "stock is taken, and nothing says for whom": (
        {"stock is conserved", "stock log matches operations"},
        [("goods", "DELETE FROM trade_goods_number_log WHERE order_id = :order")],
    ),
    "a balance is given back twice": (
        {"money log matches operations", "cancelled orders hold nothing"},
        [
            (
                "user",
                """UPDATE trade_operation SET outcome = 'applied'
                     WHERE order_id = :cancelled AND operation = 'deduct_balance'""",
            )
        ],
    ),
    "an order saved with another amount": (
        {"order states match operations"},
        [
            (
                "order",
                """UPDATE trade_operation SET amount = amount + 1
                      WHERE order_id = :order AND operation = 'save_pre_order'""",
            )
        ],
    ),
    "confirmed by no operation": (
        {"order states match operations"},
        [
            (
                "order",
                """UPDATE trade_operation SET outcome = 'refused'
                      WHERE order_id = :order AND operation = 'confirm_order'""",
            )
        ],
    ),
    "dead without a cause": (
        {"nothing is given up", "messages end or say why"},
        [
            (
                "goods",
                f"""UPDATE trade_mq_consumer_log SET status = 2, done_time = NULL
                       WHERE {HEARD}""",
            )
        ],
    ),
    "a message that was given up by nobody": (
        {"nothing is given up", "messages end or say why"},
        [("order", f"UPDATE trade_mq_producer SET status = 3, settled_time = NULL WHERE {HEARD}")],
    ),
    "settled, and never sent": (
        {"messages end or say why"},
        [("order", f"UPDATE trade_mq_producer SET settled_time = NULL WHERE {HEARD}")],
    ),
    "a message that waits and that nobody tries": (
        {"nothing is forgotten"},
        [
            (
                "goods",
                f"""UPDATE trade_mq_consumer_log SET status = 0, done_time = NULL, next_try = 1,
                       last_error = 'it failed' WHERE {HEARD}""",
            )
        ],
    ),
    "a coupon that is used changes its owner": (
        {"coupons keep their owners", "an order moves what is its user's"},
        [("coupon", "UPDATE trade_coupon SET user_id = 77 WHERE order_id = :unpaid")],
    ),
    "stock of other goods": (
        {"an order moves what is its user's", "stock is conserved"},
        [("goods", "UPDATE trade_goods_number_log SET goods_id = 77 WHERE order_id = :order")],
    ),
}
