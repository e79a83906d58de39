"""Ways to spoil what must be true of payments, refunds, points and the payment log.

The names of the values (`:paid`) are those of `ids` in `tests/integration/test_invariants.py`.
"""

from tests.support.corrupted_orders import LATER, PUT_OFF, Spoilt, copied, told_twice

#: The invariant that is to see it → what else cannot but see it, and how the data is spoilt.
SPOILT: Spoilt = {
    "one open payment an order": (
        set(),
        [
            copied("pay", "trade_pay", "pay_id = :open", pay_id="pay_id + 1", open_order_id="NULL"),
        ],
    ),
    "a payment is accepted or goes back": (
        set(),
        [
            (
                "pay",
                """UPDATE trade_operation SET outcome = 'undone'
                   WHERE order_id = :order AND operation = 'accept_payment'""",
            ),
        ],
    ),
    "no order is paid twice": (
        {
            "orders say paid where a payment stands",
            "points match payments",
            "the payment log matches payments",
            "platform and shop have the same money",
        },
        [
            (
                "pay",
                "UPDATE trade_pay SET is_paid = 1, pay_time = add_time WHERE pay_id = :given_up",
            ),
        ],
    ),
    "a refund is of what was paid": (
        set(),
        [
            ("pay", "UPDATE trade_refund SET amount = amount + 1 WHERE pay_id = :returned"),
        ],
    ),
    "what has ended waits for nothing": (
        set(),
        [
            ("pay", "UPDATE trade_pay SET last_error = 'no answer' WHERE pay_id = :paid"),
        ],
    ),
    "paid is told once": (set(), [told_twice("paid")]),
    "refunded is told once": (set(), [told_twice("refunded")]),
    "points match operations": (
        set(),
        [
            (
                "user",
                """UPDATE trade_operation SET amount = amount + 1
                    WHERE order_id = :paid AND operation = 'add_points'""",
            ),
        ],
    ),
    "payment log matches operations": (
        set(),
        [
            ("log", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :paid"),
        ],
    ),
    "orders say paid where a payment stands": (
        set(),
        [
            ("order", "UPDATE trade_order SET pay_status = 0 WHERE order_id = :order"),
        ],
    ),
    "an ended order keeps no payment": (
        set(),
        [
            (
                "pay",
                """UPDATE trade_pay SET is_paid = 0, close_time = NULL, open_order_id = order_id,
                   next_check = 1 << 60 WHERE pay_id = :closed""",
            ),
        ],
    ),
    "points match payments": (
        set(),
        [
            ("user", "UPDATE trade_user SET user_score = user_score + 1"),
            (
                "user",
                """UPDATE trade_user_score_log SET use_score = use_score + 1
                    WHERE order_id = :order""",
            ),
            (
                "user",
                """UPDATE trade_operation SET amount = amount + 1
                    WHERE order_id = :paid AND operation = 'add_points'""",
            ),
        ],
    ),
    "the payment log matches payments": (
        set(),
        [
            ("log", "UPDATE trade_pay_log SET amount = amount + 1 WHERE pay_id = :paid"),
            ("log", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :paid"),
        ],
    ),
    "platform and shop have the same money": (
        set(),
        [
            (
                "platform",
                """UPDATE platform_trade SET total_amount = total_amount - 1
                        WHERE out_trade_no = :paid""",
            ),
        ],
    ),
    "what may be paid is asked about": (
        set(),
        [
            (
                "platform",
                """UPDATE platform_trade SET trade_status = 'WAIT_BUYER_PAY'
                        WHERE out_trade_no = :closed""",
            ),
        ],
    ),
    "refunds are answered in time": (
        {"refunded is told once"},
        [
            (
                "pay",
                """UPDATE trade_refund SET state = 0, refund_time = NULL, next_try = 1 << 60
                   WHERE pay_id = :returned""",
            ),
            PUT_OFF,
            LATER,
        ],
    ),
}
#: More ways to break what a guarantee rests on.
OTHERS: Spoilt = {
    "no refund of a payment that came too late": (
        {
            "a payment is accepted or goes back",
            "an ended order keeps no payment",
            "points match payments",
            "the payment log matches payments",
            "platform and shop have the same money",
        },
        [("pay", "DELETE FROM trade_refund WHERE pay_id = :too_late")],
    ),
    "the refund was never made there": (
        {"platform and shop have the same money"},
        [("platform", "DELETE FROM platform_refund WHERE out_trade_no = :returned")],
    ),
    "an unpaid order says paid": (
        {"orders say paid where a payment stands"},
        [("order", "UPDATE trade_order SET pay_status = 2 WHERE order_id = :unpaid")],
    ),
    "paid is not told": (
        {"paid is told once", "events come from an outbox"},
        [("pay", "DELETE FROM trade_mq_producer WHERE topic = 'paid' AND msg_key = :order")],
    ),
    "paid names another payment": (
        {"paid is told once", "messages arrive as they were told"},
        [
            (
                "pay",
                """UPDATE trade_mq_producer SET body = replace(body, :paid, :given_up)
                    WHERE topic = 'paid' AND msg_key = :order""",
            )
        ],
    ),
    "accepted, and not paid": (
        {
            "a payment is accepted or goes back",
            "paid is told once",
            "points match payments",
            "orders say paid where a payment stands",
            "the payment log matches payments",
            "platform and shop have the same money",
            "what may be paid is asked about",
        },
        [("pay", "UPDATE trade_pay SET is_paid = 2, pay_time = NULL WHERE pay_id = :paid")],
    ),
    "a payment of no order": (
        {"nothing without an order"},
        [("pay", "UPDATE trade_pay SET order_id = 17 WHERE pay_id = :given_up")],
    ),
    "a payment is asked about by nobody": (
        {"what may be paid is asked about", "nothing is forgotten"},
        [("pay", "UPDATE trade_pay SET next_check = NULL WHERE pay_id = :open")],
    ),
    "a trade of no payment": (
        {"what may be paid is asked about"},
        [
            (
                "platform",
                """UPDATE platform_trade
                         SET out_trade_no = 17, trade_status = 'WAIT_BUYER_PAY'
                         WHERE out_trade_no = :closed""",
            )
        ],
    ),
    "a refund that was made is in trouble": (
        {"what has ended waits for nothing"},
        [("pay", "UPDATE trade_refund SET last_error = 'no answer' WHERE pay_id = :returned")],
    ),
    "paid there, and nobody asks about it any more": (
        {
            "platform and shop have the same money",
            "nothing is forgotten",
            "what may be paid is asked about",
        },
        [
            ("pay", "UPDATE trade_pay SET next_check = NULL WHERE pay_id = :open"),
            (
                "platform",
                """UPDATE platform_trade SET trade_status = 'TRADE_SUCCESS'
                         WHERE out_trade_no = :open""",
            ),
        ],
    ),
    "returned by a stroke of the pen, and the money stays": (
        {
            "an ended order keeps no payment",
            "an end is told once",
            "cancelled orders hold nothing",
            "order states match operations",
        },
        [("order", "UPDATE trade_order SET order_status = 4 WHERE order_id = :order")],
    ),
    "paid there a moment ago": (
        set(),
        [
            (
                "platform",
                """UPDATE platform_trade SET trade_status = 'TRADE_SUCCESS', pay_time =
            (SELECT add_time FROM platform_notice WHERE out_trade_no = :paid)
            WHERE out_trade_no = :open""",
            ),
            copied(
                "platform",
                "platform_notice",
                "out_trade_no = :paid",
                notify_id="notify_id + 1",
                out_trade_no=":open",
            ),
        ],
    ),
}
