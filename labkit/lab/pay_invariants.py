"""What must be true of payments, refunds, points and the payment log."""

from labkit.lab import liveness, pay_crossings
from labkit.lab.rules import Across, Local

WITHIN = (
    Local(
        "one open payment an order",
        "No order has two open payments; a payment that is paid or closed is not open.",
        "pay",
        "SELECT count(*) FROM trade_pay",
        """SELECT pay_id, order_id FROM trade_pay
           WHERE (is_paid = 0) <> (open_order_id IS NOT NULL) OR open_order_id <> order_id
              OR is_paid NOT IN (0, 1, 2) OR (is_paid = 1) <> (pay_time IS NOT NULL)
           UNION ALL
           SELECT max(pay_id), order_id FROM trade_pay WHERE is_paid = 0
           GROUP BY order_id HAVING count(*) > 1""",
    ),
    Local(
        "a payment is accepted or goes back",
        "Every paid payment pays for its order, with its amount, or has a refund.",
        "pay",
        "SELECT count(*) FROM trade_pay WHERE is_paid = 1",
        """SELECT y.order_id, y.pay_id FROM trade_pay y
           LEFT JOIN trade_refund r ON r.pay_id = y.pay_id
           LEFT JOIN trade_operation p ON p.order_id = y.order_id AND p.outcome = 'applied'
            AND p.operation = 'accept_payment' AND p.amount = y.pay_amount
           WHERE y.is_paid = 1 AND r.pay_id IS NULL AND p.order_id IS NULL
           UNION ALL
           SELECT p.order_id, NULL FROM trade_operation p
           WHERE p.operation = 'accept_payment' AND p.outcome = 'applied' AND NOT EXISTS (
             SELECT 1 FROM trade_pay y LEFT JOIN trade_refund r ON r.pay_id = y.pay_id
             WHERE y.order_id = p.order_id AND y.is_paid = 1 AND r.pay_id IS NULL)""",
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
        "A refund is of a payment that was paid, once, and of exactly its amount.",
        "pay",
        "SELECT count(*) FROM trade_refund",
        """SELECT r.refund_id, r.pay_id FROM trade_refund r
           LEFT JOIN trade_pay y ON y.pay_id = r.pay_id AND y.is_paid = 1
            AND y.order_id = r.order_id AND y.pay_amount = r.amount
           WHERE y.pay_id IS NULL OR (r.state = 1) <> (r.refund_time IS NOT NULL)
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
        "paid is told once",
        "Whenever a payment was accepted for an order, one message says so, and names it.",
        "pay",
        "SELECT count(*) FROM trade_operation WHERE operation = 'accept_payment'",
        """SELECT p.order_id, count(m.event_id) AS messages FROM trade_operation p
           LEFT JOIN trade_mq_producer m ON m.topic = 'paid'
            AND m.msg_key = CAST(p.order_id AS CHAR(20))
           WHERE p.operation = 'accept_payment' GROUP BY p.order_id, p.outcome
           HAVING count(m.event_id) <> (p.outcome IN ('applied', 'undone'))
           UNION ALL
           SELECT m.msg_key, m.pay_id FROM (
             SELECT msg_key, CAST(json_extract(body, '$.pay_id') AS SIGNED) AS pay_id,
                    CAST(json_extract(body, '$.pay_amount') AS SIGNED) AS cents
             FROM trade_mq_producer WHERE topic = 'paid') m
           LEFT JOIN trade_pay y ON y.pay_id = m.pay_id AND y.is_paid = 1
            AND y.pay_amount = m.cents AND CAST(y.order_id AS CHAR(20)) = m.msg_key
           WHERE y.pay_id IS NULL""",
    ),
    Local(
        "refunded is told once",
        "Every refund that was made has exactly one message about it, and no other has any.",
        "pay",
        "SELECT count(*) FROM trade_refund",
        """SELECT r.refund_id, count(m.event_id) AS messages FROM trade_refund r
           LEFT JOIN (SELECT event_id,
                             CAST(json_extract(body, '$.refund_id') AS SIGNED) AS refund_id
                      FROM trade_mq_producer WHERE topic = 'refunded') m
             ON m.refund_id = r.refund_id
           GROUP BY r.refund_id, r.state HAVING count(m.event_id) <> (r.state = 1)""",
    ),
    Local(
        "points match operations",
        "All points that were earned or taken back have their operations, with the same number.",
        "user",
        "SELECT count(*) FROM trade_user_score_log WHERE order_id <> 0",
        """SELECT l.earned, l.back, p.applied, p.undone FROM
           (SELECT coalesce(sum(CASE score_log_type WHEN 1 THEN use_score END), 0) AS earned,
                   coalesce(sum(CASE score_log_type WHEN 2 THEN use_score END), 0) AS back
            FROM trade_user_score_log WHERE order_id <> 0) l,
           (SELECT coalesce(sum(amount), 0) AS applied,
                   coalesce(sum(CASE outcome WHEN 'undone' THEN amount END), 0) AS undone
            FROM trade_operation WHERE operation = 'add_points') p
           WHERE l.earned <> p.applied OR l.back <> p.undone""",
    ),
    Local(
        "payment log matches operations",
        "Every line of the payment log has its operation, with the same amount.",
        "log",
        "SELECT count(*) FROM trade_pay_log",
        """SELECT l.pay_id, l.direction FROM trade_pay_log l
           LEFT JOIN trade_operation p ON p.order_id = l.pay_id AND p.operation = 'log_payment'
           WHERE p.outcome IS NULL OR p.amount <> l.amount
              OR p.outcome NOT IN ('applied', 'undone')
              OR (l.direction = 'refunded' AND p.outcome <> 'undone')
           UNION ALL
           SELECT p.order_id, p.outcome FROM trade_operation p
           WHERE p.operation = 'log_payment' AND p.outcome IN ('applied', 'undone')
             AND (SELECT count(*) FROM trade_pay_log l WHERE l.pay_id = p.order_id)
                 <> CASE p.outcome WHEN 'applied' THEN 1 ELSE 2 END""",
    ),
)

ACROSS = (
    Across(
        "orders say paid where a payment stands",
        "A confirmed order is paid if and only if a payment of its amount stands, or none is due.",
        pay_crossings.orders_say_what_is_paid,
    ),
    Across(
        "an ended order keeps no payment",
        "Every payment of an order that was cancelled or returned is closed or goes back.",
        pay_crossings.ended_orders_keep_no_payment,
    ),
    Across(
        "points match payments",
        "An order has brought one point for each whole yuan of the payment that stands, or none.",
        pay_crossings.points_match_payments,
    ),
    Across(
        "the payment log matches payments",
        "The payment log holds each payment that stands; one that went back comes to nothing.",
        pay_crossings.log_matches_payments,
    ),
    Across(
        "platform and shop have the same money",
        "Each payment has the same cents at the platform and in the shop, refunds taken off.",
        pay_crossings.platform_and_shop_agree,
    ),
    Across(
        "what may be paid is asked about",
        "The shop knows each payment at the platform as paid, or asks about it, or gave it up.",
        pay_crossings.what_may_be_paid_is_asked_about,
    ),
    Across(
        "refunds are answered in time",
        "No refund waits for the platform longer than 30 s, unless a person gave it up.",
        liveness.refunds_are_answered_in_time,
    ),
)
