"""Invariants within the databases of user and log: points, and the payment log."""

from labkit.ops.invariants.inbox_effects import applies_payments
from labkit.ops.invariants.kinds import Local, from_json, symmetric_difference

#: Handled messages about payments and refunds, with their operation, whose name is appended.
_MOVED = f"""FROM (SELECT CAST(msg_key AS INTEGER) AS order_id, done_time, topic,
    {from_json("body", "user_id")} AS user_id, {from_json("body", "pay_id")} AS pay_id
    FROM trade_mq_consumer_log WHERE status = 1 AND topic IN ('paid', 'refunded')) h
  JOIN trade_operation p ON p.order_id = h.pay_id
   AND (p.outcome = 'undone' OR (p.outcome = 'applied' AND h.topic = 'paid'))
   AND p.operation ="""

WITHIN = (
    Local(
        "points are conserved",
        "Points are what they opened with, plus what was earned, less what was taken back.",
        "user",
        "SELECT count(*) FROM trade_user",
        """SELECT u.user_id, u.user_score, sum(CASE l.score_log_type WHEN 2
             THEN -l.use_score ELSE l.use_score END) AS logged FROM trade_user u
           LEFT JOIN trade_user_score_log l ON l.user_id = u.user_id
           GROUP BY u.user_id HAVING u.user_score IS NOT logged
              OR sum(l.score_log_type = 0 AND l.create_time = u.user_reg_time) <> 1
           UNION ALL
           SELECT user_id, score_log_type, order_id FROM trade_user_score_log
           WHERE (score_log_type = 0) <> (order_id = 0) OR score_log_type NOT IN (0, 1, 2)
              OR user_id NOT IN (SELECT user_id FROM trade_user)""",
    ),
    Local(
        "points match operations",
        "All points that were earned or taken back have their operations, with the same number.",
        "user",
        "SELECT count(*) FROM trade_user_score_log WHERE order_id <> 0",
        symmetric_difference(
            f"""SELECT CASE h.topic WHEN 'paid' THEN 1 ELSE 2 END AS kind, h.order_id, h.user_id,
                       p.amount, h.done_time AS at {_MOVED} 'add_points' AND p.amount > 0
                WHERE h.order_id > {{horizon}}""",
            """SELECT score_log_type, order_id, user_id, use_score, create_time
               FROM trade_user_score_log WHERE order_id > {horizon}""",
        ),
    ),
    applies_payments("points hear of payments", "user", "add_points", "e.cents / 100"),
    Local(
        "payment log matches operations",
        "Every line of the payment log has its operation, with the same amount.",
        "log",
        "SELECT count(*) FROM trade_pay_log",
        symmetric_difference(
            f"""SELECT h.topic AS kind, h.pay_id, h.order_id, h.user_id, p.amount,
                       h.done_time AS at {_MOVED} 'log_payment'
                WHERE h.order_id > {{horizon}}""",
            """SELECT direction, pay_id, order_id, user_id, amount, log_time FROM trade_pay_log
               WHERE order_id > {horizon}""",
        ),
    ),
    applies_payments("the log hears of payments", "log", "log_payment", "e.cents"),
)
