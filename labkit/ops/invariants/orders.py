"""Invariants within the order database: orders, their states and their messages."""

from labkit.ops.invariants.kinds import Local, symmetric_difference

_CANCELS = "('cancel_failed', 'cancel_expired', 'cancel_unpaid', 'cancel_by_user')"

WITHIN = (
    Local(
        "amounts add up",
        "In every order: goods and shipping make its amount; balance, coupon and rest pay it.",
        "order",
        "SELECT count(*) FROM trade_order",
        """SELECT order_id FROM trade_order
           WHERE goods_amount <> goods_price * goods_number OR goods_number <= 0
              OR order_amount <> goods_amount + shipping_fee OR money_paid < 0
              OR pay_amount <> order_amount - coupon_paid - money_paid OR pay_amount < 0
              OR coupon_paid < 0 OR (coupon_id IS NULL AND coupon_paid <> 0)""",
    ),
    Local(
        "states are legal",
        "Every order is in a state that the shop knows, and has the times that go with it.",
        "order",
        "SELECT count(*) FROM trade_order",
        """SELECT order_id, order_status, pay_status FROM trade_order
           WHERE order_status NOT IN (0, 1, 2, 4) OR pay_status NOT IN (0, 2)
              OR shipping_status <> 0
              OR (pay_status = 2 AND order_status NOT IN (1, 4))
              OR (pay_status = 0 AND (order_status = 4 OR (order_status = 1 AND pay_amount = 0)))
              OR (order_status IN (1, 4) AND confirm_time IS NULL)
              OR (order_status = 0 AND confirm_time IS NOT NULL)
              OR (pay_status = 2) <> (pay_time IS NOT NULL)
              OR (order_status = 2) <> (cancel_reason IS NOT NULL)
              OR (order_status <> 2 AND cancel_time IS NOT NULL)
              OR (order_status NOT IN (2, 4) AND refund_time IS NOT NULL)""",
    ),
    Local(
        "order states match operations",
        "Every order was saved, confirmed, cancelled or returned by the operation that says so.",
        "order",
        "SELECT count(*) FROM trade_order",
        f"""SELECT o.order_id, o.order_status FROM trade_order o
           LEFT JOIN trade_operation s ON s.order_id = o.order_id
            AND s.operation = 'save_pre_order' AND s.outcome = 'applied'
           LEFT JOIN trade_operation c ON c.order_id = o.order_id
            AND c.operation = 'confirm_order' AND c.outcome = 'applied'
           LEFT JOIN trade_operation r ON r.order_id = o.order_id
            AND r.operation = 'return_order' AND r.outcome = 'applied'
           WHERE s.amount IS NOT o.order_amount OR s.add_time IS NOT o.add_time
              OR c.add_time IS NOT o.confirm_time
              OR (r.order_id IS NOT NULL) <> (o.order_status = 4)
           UNION ALL
           SELECT o.order_id, o.order_status FROM trade_order o WHERE o.order_status = 2
             AND o.order_id NOT IN (SELECT order_id FROM trade_operation
                                    WHERE operation IN {_CANCELS} AND outcome = 'applied')
           UNION ALL
           SELECT p.order_id, p.operation FROM trade_operation p
           LEFT JOIN trade_order o ON o.order_id = p.order_id
           WHERE p.operation <> 'record_paid'
             AND (o.order_id IS NULL OR (p.operation <> 'save_pre_order' AND p.amount <> 0)
                  OR (p.operation IN {_CANCELS} AND o.order_status <> 2))
           UNION ALL
           SELECT order_id, max(operation) FROM trade_operation
           WHERE operation IN {_CANCELS} AND outcome = 'applied'
           GROUP BY order_id HAVING count(*) > 1""",
    ),
    Local(
        "an end is told once",
        "Every cancelled or returned order has exactly one message about it in the outbox.",
        "order",
        "SELECT count(*) FROM trade_order WHERE order_status IN (2, 4)",
        f"""SELECT order_id, order_status FROM trade_order
           WHERE order_status = 2 AND order_id > {{horizon}}
             AND order_id NOT IN (SELECT CAST(msg_key AS INTEGER) FROM trade_mq_producer
                                  WHERE topic = 'order_cancel')
           UNION ALL
           SELECT order_id, order_status FROM trade_order
           WHERE order_status = 4 AND order_id > {{horizon}}
             AND order_id NOT IN (SELECT CAST(msg_key AS INTEGER) FROM trade_mq_producer
                                  WHERE topic = 'order_return')
           UNION ALL
           SELECT m.msg_key, m.topic FROM trade_mq_producer m
           LEFT JOIN trade_operation p ON p.order_id = CAST(m.msg_key AS INTEGER)
            AND p.outcome = 'applied' AND p.add_time = m.add_time
            AND ((m.topic = 'order_cancel' AND p.operation IN {_CANCELS})
                 OR (m.topic = 'order_return' AND p.operation = 'return_order'))
           WHERE m.topic IN ('order_cancel', 'order_return') AND p.order_id IS NULL
           UNION ALL
           SELECT msg_key, topic FROM trade_mq_producer
           WHERE topic IN ('order_cancel', 'order_return')
           GROUP BY msg_key HAVING count(*) > 1""",
    ),
    Local(
        "what is free is told as paid",
        "Every order that was confirmed with nothing left to pay has told once that it is paid.",
        "order",
        "SELECT count(*) FROM trade_order WHERE pay_amount = 0",
        symmetric_difference(
            """SELECT order_id, confirm_time AS told, pay_time FROM trade_order
               WHERE pay_amount = 0 AND confirm_time IS NOT NULL AND order_id > {horizon}""",
            """SELECT CAST(msg_key AS INTEGER), add_time, add_time FROM trade_mq_producer
               WHERE topic = 'paid' AND CAST(msg_key AS INTEGER) > {horizon}""",
        )
        + """ UNION ALL SELECT msg_key, count(*), NULL FROM trade_mq_producer
              WHERE topic = 'paid' GROUP BY msg_key HAVING count(*) > 1""",
    ),
    Local(
        "what is heard is noted",
        "An order bears the time of the message that told of its payment, its end or its refund.",
        "order",
        "SELECT count(*) FROM trade_order WHERE coalesce(pay_time, cancel_time, refund_time) > ''",
        """SELECT order_id, cancel_time AS noted FROM trade_order
           WHERE cancel_time IS NOT NULL AND order_id > {horizon}
             AND (order_id, cancel_time) NOT IN (SELECT CAST(msg_key AS INTEGER), done_time
               FROM trade_mq_consumer_log WHERE topic = 'order_cancel' AND done_time IS NOT NULL)
           UNION ALL
           SELECT order_id, refund_time FROM trade_order
           WHERE refund_time IS NOT NULL AND order_id > {horizon}
             AND (order_id, refund_time) NOT IN (SELECT CAST(msg_key AS INTEGER), done_time
               FROM trade_mq_consumer_log WHERE topic = 'refunded' AND done_time IS NOT NULL)
           UNION ALL
           SELECT order_id, pay_time FROM trade_order
           WHERE pay_time IS NOT NULL AND pay_amount > 0 AND order_id > {horizon}
             AND (order_id, pay_time) NOT IN (SELECT CAST(msg_key AS INTEGER), done_time
               FROM trade_mq_consumer_log WHERE topic = 'paid' AND done_time IS NOT NULL)
           UNION ALL
           SELECT o.order_id, i.done_time FROM trade_mq_consumer_log i
           JOIN trade_order o ON o.order_id = CAST(i.msg_key AS INTEGER)
           WHERE i.status = 1 AND ((i.topic = 'order_cancel' AND o.cancel_time IS NULL)
              OR (i.topic = 'paid' AND o.order_status IN (1, 4) AND o.pay_status <> 2))""",
    ),
    Local(
        "one order a coupon",
        "No coupon pays for two orders that stand.",
        "order",
        "SELECT count(*) FROM trade_order WHERE coupon_id IS NOT NULL AND order_status = 1",
        """SELECT coupon_id, count(*) AS orders FROM trade_order
           WHERE coupon_id IS NOT NULL AND order_status = 1
           GROUP BY coupon_id HAVING count(*) > 1""",
    ),
)
