"""What must be true of orders, stock, coupons, balances and messages."""

from labkit.lab import crossings, liveness
from labkit.lab.rules import Across, Local

WITHIN = (
    Local(
        "amounts add up",
        "In every order: goods and shipping make its amount; balance, coupon and rest pay it.",
        "order",
        "SELECT count(*) FROM trade_order",
        """SELECT order_id FROM trade_order
           WHERE goods_amount <> goods_price * goods_number OR goods_number <= 0
              OR order_amount <> goods_amount + shipping_fee OR money_paid < 0
              OR pay_amount <> order_amount - coupon_paid - money_paid OR pay_amount < 0""",
    ),
    Local(
        "states are legal",
        "Every order is in a state that the shop knows; only a confirmed one was ever paid.",
        "order",
        "SELECT count(*) FROM trade_order",
        """SELECT order_id, order_status, pay_status FROM trade_order
           WHERE order_status NOT IN (0, 1, 2, 4) OR pay_status NOT IN (0, 2)
              OR (pay_status = 2 AND order_status NOT IN (1, 4))
              OR (order_status IN (1, 4) AND confirm_time IS NULL)""",
    ),
    Local(
        "order states match operations",
        "Every order was saved, confirmed, cancelled or returned by the operation that says so.",
        "order",
        "SELECT count(*) FROM trade_order",
        """SELECT o.order_id, o.order_status FROM trade_order o
           LEFT JOIN trade_operation p ON p.order_id = o.order_id AND p.outcome = 'applied'
           GROUP BY o.order_id, o.order_status, o.order_amount, o.confirm_time
           HAVING coalesce(sum(CASE p.operation WHEN 'save_pre_order' THEN p.amount END), -1)
                  <> o.order_amount
              OR coalesce(sum(p.operation = 'confirm_order'), 0) <> (o.confirm_time IS NOT NULL)
              OR coalesce(sum(p.operation IN ('cancel_failed', 'cancel_expired', 'cancel_unpaid',
                                              'cancel_by_user')), 0) <> (o.order_status = 2)
              OR coalesce(sum(p.operation = 'return_order'), 0) <> (o.order_status = 4)""",
    ),
    Local(
        "an end is told once",
        "Every cancelled or returned order has exactly one message about it in the outbox.",
        "order",
        "SELECT count(*) FROM trade_order WHERE order_status IN (2, 4)",
        """SELECT o.order_id, count(m.event_id) AS messages FROM trade_order o
           LEFT JOIN trade_mq_producer m ON m.msg_key = CAST(o.order_id AS CHAR(20))
            AND m.topic = CASE o.order_status WHEN 2 THEN 'order_cancel' ELSE 'order_return' END
           WHERE o.order_status IN (2, 4) GROUP BY o.order_id HAVING count(m.event_id) <> 1""",
    ),
    Local(
        "answers are true",
        "Who was told that an order is placed has one that was confirmed; who was refused, none.",
        "order",
        "SELECT count(*) FROM trade_order_request WHERE answer IS NOT NULL",
        """SELECT r.order_id FROM trade_order_request r
           LEFT JOIN trade_order o ON o.order_id = r.order_id
           WHERE (r.answer LIKE '{"success":true%' AND o.confirm_time IS NULL)
              OR (r.answer LIKE '{"success":false%' AND o.confirm_time IS NOT NULL)""",
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
    Local(
        "stock is conserved",
        "What is in stock is what it opened with, less what was taken, plus what came back.",
        "goods",
        "SELECT count(*) FROM trade_goods",
        """SELECT g.goods_id, g.goods_number, sum(l.pieces) AS logged FROM trade_goods g
           LEFT JOIN (SELECT goods_id, CASE direction WHEN 'deduct' THEN -goods_number
                      ELSE goods_number END AS pieces FROM trade_goods_number_log) l
             ON l.goods_id = g.goods_id
           GROUP BY g.goods_id, g.goods_number HAVING g.goods_number <> coalesce(sum(l.pieces), 0)
              OR g.goods_number < 0""",
    ),
    Local(
        "stock log matches operations",
        "Every piece taken or given back has its operation, with the same number.",
        "goods",
        "SELECT count(*) FROM trade_goods_number_log WHERE order_id <> 0",
        """SELECT l.order_id, l.direction FROM trade_goods_number_log l
           LEFT JOIN trade_operation p ON p.order_id = l.order_id AND p.operation = 'deduct_stock'
           WHERE l.order_id <> 0 AND (p.outcome IS NULL OR p.amount <> l.goods_number
              OR p.outcome NOT IN ('applied', 'undone')
              OR (l.direction = 'return' AND p.outcome <> 'undone'))
           UNION ALL
           SELECT p.order_id, p.outcome FROM trade_operation p
           WHERE p.operation = 'deduct_stock' AND p.outcome IN ('applied', 'undone')
             AND (SELECT count(*) FROM trade_goods_number_log l WHERE l.order_id = p.order_id)
                 <> CASE p.outcome WHEN 'applied' THEN 1 ELSE 2 END""",
    ),
    Local(
        "coupons match operations",
        "A coupon is used if and only if the operation of its order says so; it keeps its owner.",
        "coupon",
        "SELECT count(*) FROM trade_coupon",
        """SELECT c.coupon_id AS id, 'coupon' AS what FROM trade_coupon c
           LEFT JOIN trade_operation p ON p.order_id = c.order_id AND p.operation = 'use_coupon'
            AND p.outcome = 'applied' AND p.amount = c.coupon_price
           WHERE c.user_id IS NULL OR (c.is_used = 1) <> (c.order_id IS NOT NULL)
              OR (c.is_used = 1 AND p.order_id IS NULL)
           UNION ALL
           SELECT p.order_id, 'operation' FROM trade_operation p
           LEFT JOIN trade_coupon c ON c.order_id = p.order_id
           WHERE p.operation = 'use_coupon' AND p.outcome = 'applied' AND c.coupon_id IS NULL""",
    ),
    Local(
        "balance is conserved",
        "A balance is what it opened with, less what was paid, plus what was refunded.",
        "user",
        "SELECT count(*) FROM trade_user",
        """SELECT u.user_id, u.user_money, sum(l.cents) AS logged FROM trade_user u
           LEFT JOIN (SELECT user_id, CASE money_log_type WHEN 1 THEN -use_money
                      ELSE use_money END AS cents FROM trade_user_money_log) l
             ON l.user_id = u.user_id
           GROUP BY u.user_id, u.user_money HAVING u.user_money <> coalesce(sum(l.cents), 0)
              OR u.user_money < 0""",
    ),
    Local(
        "money log matches operations",
        "Every cent taken or given back has its operation, with the same amount.",
        "user",
        "SELECT count(*) FROM trade_user_money_log WHERE order_id <> 0",
        """SELECT l.order_id, l.money_log_type AS kind FROM trade_user_money_log l
           LEFT JOIN trade_operation p ON p.order_id = l.order_id AND p.operation = 'deduct_balance'
           WHERE l.order_id <> 0 AND (p.outcome IS NULL OR p.amount <> l.use_money
              OR p.outcome NOT IN ('applied', 'undone')
              OR (l.money_log_type = 2 AND p.outcome <> 'undone'))
           UNION ALL
           SELECT p.order_id, p.outcome FROM trade_operation p
           WHERE p.operation = 'deduct_balance' AND p.outcome IN ('applied', 'undone')
             AND (SELECT count(*) FROM trade_user_money_log l WHERE l.order_id = p.order_id)
                 <> CASE p.outcome WHEN 'applied' THEN 1 ELSE 2 END""",
    ),
    Local(
        "points are conserved",
        "Points are what they opened with, plus what was earned, less what was taken back.",
        "user",
        "SELECT count(*) FROM trade_user",
        """SELECT u.user_id, u.user_score, sum(l.points) AS logged FROM trade_user u
           LEFT JOIN (SELECT user_id, CASE score_log_type WHEN 2 THEN -use_score
                      ELSE use_score END AS points FROM trade_user_score_log) l
             ON l.user_id = u.user_id
           GROUP BY u.user_id, u.user_score HAVING u.user_score <> coalesce(sum(l.points), 0)""",
    ),
    Local(
        "operations have ended",
        "Every claimed operation has an outcome and the answer that goes with it.",
        "",
        "SELECT count(*) FROM trade_operation",
        """SELECT order_id, operation, outcome FROM trade_operation
           WHERE outcome NOT IN ('applied', 'refused', 'blocked', 'undone')
              OR (outcome = 'blocked') <> (result = '')""",
    ),
    Local(
        "messages end or say why",
        "Every message is on its way, or has ended and says when, or failed and says why.",
        "",
        """SELECT (SELECT count(*) FROM trade_mq_consumer_log)
                + (SELECT count(*) FROM trade_mq_producer)""",
        """SELECT group_name, event_id, status FROM trade_mq_consumer_log
           WHERE status NOT IN (0, 1, 2) OR (status = 1) <> (done_time IS NOT NULL)
              OR (status <> 1 AND last_error IS NULL)
              OR (status = 1 AND last_error NOT LIKE 'put aside%')
           UNION ALL SELECT 'outbox', event_id, status FROM trade_mq_producer
           WHERE status NOT IN (0, 1, 2, 3) OR (status = 2) <> (settled_time IS NOT NULL)
              OR (status IN (1, 2) AND sent_time IS NULL)
              OR (status = 2 AND last_error IS NOT NULL) OR (status = 3 AND last_error IS NULL)""",
    ),
    Local(
        "nothing is given up",
        "No event is dead: somebody would have to drive it by hand (labkit stuck).",
        "",
        """SELECT (SELECT count(*) FROM trade_mq_consumer_log)
                + (SELECT count(*) FROM trade_mq_producer)""",
        """SELECT group_name, event_id, last_error FROM trade_mq_consumer_log WHERE status = 2
           UNION ALL SELECT 'outbox', event_id, last_error FROM trade_mq_producer
           WHERE status = 3""",
    ),
)

ACROSS = (
    Across(
        "every order is decided",
        "No order is unconfirmed long after its deadline.",
        crossings.every_order_is_decided,
    ),
    Across(
        "confirmed orders are covered",
        "A confirmed order has its stock, its coupon and its balance, to the piece and the cent.",
        crossings.confirmed_orders_are_covered,
    ),
    Across(
        "cancelled orders hold nothing",
        "An order that was cancelled or returned, and whose message went round, keeps nothing.",
        crossings.cancelled_orders_hold_nothing,
    ),
    Across(
        "nothing without an order",
        "Everything that was ever taken was taken for an order that exists.",
        crossings.nothing_without_an_order,
    ),
    Across(
        "coupons keep their owners",
        "A coupon that an order used, or gave back, still belongs to its user.",
        crossings.coupons_keep_their_owners,
    ),
    Across(
        "settled events arrived",
        "Every settled event has an inbox row in each group that must have it.",
        crossings.settled_events_arrived,
    ),
    Across(
        "events come from an outbox",
        "Every event that was handled stands in the outbox of the service that sent it.",
        crossings.events_come_from_an_outbox,
    ),
    Across(
        "messages arrive as they were told",
        "What a group was handed of an event is what the outbox says, to the letter.",
        crossings.messages_arrive_as_told,
    ),
    Across(
        "an order moves what is its user's",
        "What an order moves (balance, points, coupon, payment, goods) is its own and its user's.",
        crossings.orders_move_what_is_theirs,
    ),
    Across(
        "messages arrive in time",
        "No message is on its way for longer than 30 s, unless a person gave it up.",
        liveness.messages_arrive_in_time,
    ),
    Across(
        "nothing is forgotten",
        "Whatever waits for another try gets it: none is overdue by 30 s.",
        liveness.nothing_is_forgotten,
    ),
)
