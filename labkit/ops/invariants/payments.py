"""Invariants within the databases of pay and order: payments, refunds and their messages."""

from labkit.ops.invariants.inbox_effects import applies_payments, not_undone
from labkit.ops.invariants.kinds import (
    Local,
    as_json,
    from_json,
    required_of,
    said_in,
    symmetric_difference,
)
from labkit.shop.messages import OrderPaid, OrderRefunded
from labkit.shop.pay.messages import AcceptPayment

_ENDED, _TOO_LATE = "the order has ended", "the order has ended, or is paid by another payment"
_ACCEPT = as_json(AcceptPayment, "y")
_ENDS = "('order_cancel', 'order_return')"

WITHIN = (
    Local(
        "one open payment an order",
        "No order has two open payments; a payment that is paid or closed is not open.",
        "pay",
        "SELECT count(*) FROM trade_pay",
        """SELECT pay_id, order_id FROM trade_pay
           WHERE (is_paid = 0) <> (open_order_id IS NOT NULL) OR open_order_id <> order_id
              OR is_paid NOT IN (0, 1, 2) OR (is_paid = 1) <> (pay_time IS NOT NULL)
              OR (is_paid = 2 AND close_time IS NULL) OR (is_paid = 0 AND close_time IS NOT NULL)
              OR (is_paid = 1 AND trade_no IS NULL) OR pay_amount <= 0 OR tries < 0
           UNION ALL
           SELECT max(pay_id), order_id FROM trade_pay WHERE is_paid = 0
           GROUP BY order_id HAVING count(*) > 1""",
    ),
    Local(
        "a payment is accepted or goes back",
        "Every paid payment pays for its order, with its amount, or has a refund.",
        "pay",
        "SELECT count(*) FROM trade_pay WHERE is_paid = 1",
        f"""SELECT y.order_id, y.pay_id FROM trade_pay y
           LEFT JOIN trade_refund r ON r.pay_id = y.pay_id
           LEFT JOIN trade_operation p ON p.order_id = y.order_id AND p.outcome = 'applied'
            AND p.operation = 'accept_payment' AND p.amount = y.pay_amount
           WHERE y.is_paid = 1 AND r.pay_id IS NULL AND p.order_id IS NULL
           UNION ALL
           SELECT p.order_id, p.amount FROM trade_operation p
           WHERE p.operation = 'accept_payment' AND p.outcome = 'applied' AND NOT EXISTS (
             SELECT 1 FROM trade_pay y LEFT JOIN trade_refund r ON r.pay_id = y.pay_id
             WHERE y.order_id = p.order_id AND y.is_paid = 1 AND r.pay_id IS NULL)
           UNION ALL
           SELECT p.order_id, p.amount FROM trade_operation p
           WHERE p.operation = 'accept_payment' AND p.outcome IN ('applied', 'undone')
             AND NOT EXISTS (SELECT 1 FROM trade_pay y WHERE y.order_id = p.order_id
               AND y.is_paid = 1 AND y.pay_amount = p.amount AND y.pay_time = p.add_time
               AND p.body_hash = sha256({_ACCEPT}))""",
    ),
    Local(
        "no order is paid twice",
        "An order stands paid by one payment at most; any other goes back.",
        "pay",
        "SELECT count(*) FROM trade_pay WHERE is_paid = 1",
        """SELECT y.order_id, count(*) AS payments FROM trade_pay y
           LEFT JOIN trade_refund r ON r.pay_id = y.pay_id
           WHERE y.is_paid = 1 AND r.pay_id IS NULL GROUP BY y.order_id HAVING count(*) > 1""",
    ),
    Local(
        "a refund is of what was paid",
        "A refund is of a payment that was paid, once, of exactly its amount, and says why.",
        "pay",
        "SELECT count(*) FROM trade_refund",
        f"""SELECT r.refund_id, r.pay_id FROM trade_refund r
           LEFT JOIN trade_pay y ON y.pay_id = r.pay_id AND y.is_paid = 1
            AND y.order_id = r.order_id AND y.user_id = r.user_id AND y.pay_amount = r.amount
           WHERE y.pay_id IS NULL OR (r.state = 1) <> (r.refund_time IS NOT NULL)
              OR r.state NOT IN (0, 1, 2) OR r.tries < 0 OR r.next_try <= 0
              OR (r.state = 2 AND r.last_error IS NULL)
              OR r.reason NOT IN ('{_ENDED}', '{_TOO_LATE}')
              OR (r.reason = '{_TOO_LATE}' AND r.add_time <> y.pay_time)
              OR (r.reason = '{_ENDED}') <> EXISTS (  -- its order had accepted it
                SELECT 1 FROM trade_operation p WHERE p.order_id = y.order_id
                 AND p.operation = 'accept_payment' AND p.outcome = 'undone'
                 AND p.body_hash = sha256({_ACCEPT}))
           UNION ALL
           SELECT refund_id, pay_id FROM trade_refund
           WHERE reason = '{_ENDED}' AND order_id > {{horizon}} AND (order_id, add_time) NOT IN (
             SELECT CAST(msg_key AS INTEGER), done_time FROM trade_mq_consumer_log
             WHERE topic IN {_ENDS} AND done_time IS NOT NULL)
           UNION ALL
           SELECT max(refund_id), pay_id FROM trade_refund GROUP BY pay_id HAVING count(*) > 1""",
    ),
    Local(
        "what has ended waits for nothing",
        "Of a payment that is paid, or a refund that is made, no check and no trouble is left.",
        "pay",
        "SELECT count(*) FROM trade_pay WHERE is_paid = 1",
        """SELECT pay_id, order_id FROM trade_pay
           WHERE is_paid = 1 AND (next_check IS NOT NULL OR last_error IS NOT NULL)
           UNION ALL
           SELECT refund_id, order_id FROM trade_refund
           WHERE state = 1 AND last_error IS NOT NULL""",
    ),
    Local(
        "what ends gives its payment back",
        "Whoever heard that an order ended accepts no payment for it, then and at no other time.",
        "pay",
        f"SELECT count(*) FROM trade_mq_consumer_log WHERE topic IN {_ENDS}",
        f"""{not_undone("accept_payment", "CAST(i.msg_key AS INTEGER)", _ENDS)}
           UNION ALL
           SELECT order_id, outcome FROM trade_operation
           WHERE operation = 'accept_payment' AND order_id > {{horizon}}
             AND (outcome IN ('undone', 'blocked')
               AND order_id NOT IN (SELECT CAST(msg_key AS INTEGER) FROM trade_mq_consumer_log
                                    WHERE topic IN {_ENDS} AND status = 1)
             OR outcome = 'blocked' AND (order_id, add_time) NOT IN (
               SELECT CAST(msg_key AS INTEGER), done_time FROM trade_mq_consumer_log
               WHERE topic IN {_ENDS} AND done_time IS NOT NULL)
             OR outcome = 'refused')
           UNION ALL
           SELECT y.order_id, 'open' FROM trade_pay y WHERE y.is_paid = 0 AND y.order_id IN (
             SELECT CAST(msg_key AS INTEGER) FROM trade_mq_consumer_log
             WHERE topic IN {_ENDS} AND status = 1)""",
    ),
    Local(
        "paid is told once",
        "Whenever a payment was accepted for an order, one message says so, and names it.",
        "pay",
        "SELECT count(*) FROM trade_operation WHERE operation = 'accept_payment'",
        f"""SELECT p.order_id, count(m.event_id) AS messages FROM trade_operation p
           LEFT JOIN trade_mq_producer m ON m.topic = 'paid'
            AND CAST(m.msg_key AS INTEGER) = p.order_id
           WHERE p.operation = 'accept_payment' AND p.order_id > {{horizon}}
           GROUP BY p.order_id, p.outcome
           HAVING count(m.event_id) <> (p.outcome IN ('applied', 'undone'))
           UNION ALL
           SELECT m.msg_key, m.event_id FROM trade_mq_producer m
           LEFT JOIN trade_pay y ON y.pay_id = {from_json("m.body", "pay_id")} AND y.is_paid = 1
            AND m.body = {as_json(OrderPaid, "y")}
            AND m.add_time = y.pay_time AND CAST(m.msg_key AS INTEGER) = y.order_id
           WHERE m.topic = 'paid' AND y.pay_id IS NULL""",
    ),
    Local(
        "refunded is told once",
        "Every refund that was made has exactly one message about it, and no other has any.",
        "pay",
        "SELECT count(*) FROM trade_refund",
        symmetric_difference(
            f"""SELECT refund_id, refund_time AS told, order_id,
                       {required_of(OrderRefunded)} AS body
                FROM trade_refund WHERE state = 1 AND refund_id > {{horizon}}""",
            f"""SELECT {from_json("body", "refund_id")}, add_time, CAST(msg_key AS INTEGER),
                       {said_in(OrderRefunded, "body")}
                FROM trade_mq_producer WHERE topic = 'refunded'
                 AND {from_json("body", "refund_id")} > {{horizon}}""",
        )
        + """ UNION ALL SELECT msg_key, count(*), NULL, body FROM trade_mq_producer
              WHERE topic = 'refunded' GROUP BY body HAVING count(*) > 1""",
    ),
    applies_payments("the order hears of its payment", "order", "record_paid", "e.cents"),
)
