"""Invariants within the payment platform's database: trades, refunds and notices agree."""

from labkit.ops.invariants.kinds import Local

WITHIN = (
    Local(
        "trades are legal",
        "Every trade waits, is paid or is closed, and has the time that goes with it.",
        "platform",
        "SELECT count(*) FROM platform_trade",
        """SELECT out_trade_no, trade_status FROM platform_trade
           WHERE trade_status NOT IN ('WAIT_BUYER_PAY', 'TRADE_SUCCESS', 'TRADE_CLOSED')
              OR (trade_status = 'TRADE_SUCCESS') <> (pay_time IS NOT NULL)
              OR (trade_status = 'TRADE_CLOSED') <> (close_time IS NOT NULL)
              OR pay_time >= time_expire OR total_amount <= 0
              OR (refunded_amount > 0 AND trade_status <> 'TRADE_SUCCESS')""",
    ),
    Local(
        "trades have given back what their refunds say",
        "What a trade has given back is the sum of its refunds, and never more than was paid.",
        "platform",
        "SELECT count(*) FROM platform_trade",
        """SELECT t.out_trade_no, t.refunded_amount FROM platform_trade t
           LEFT JOIN platform_refund r ON r.out_trade_no = t.out_trade_no
           GROUP BY t.out_trade_no
           HAVING t.refunded_amount <> coalesce(sum(r.amount), 0)
              OR t.refunded_amount > t.total_amount
           UNION ALL
           SELECT out_trade_no, amount FROM platform_refund
           WHERE amount <= 0 OR out_trade_no NOT IN (SELECT out_trade_no FROM platform_trade)""",
    ),
    Local(
        "every end is notified",
        "Every trade that ended has one notice, since that moment, and no other has any.",
        "platform",
        "SELECT count(*) FROM platform_notice",
        """SELECT t.out_trade_no, n.notify_id FROM platform_trade t
           LEFT JOIN platform_notice n ON n.out_trade_no = t.out_trade_no
           WHERE n.add_time IS NOT coalesce(t.pay_time, t.close_time)
           UNION ALL
           SELECT out_trade_no, notify_id FROM platform_notice
           WHERE (answer_time IS NOT NULL AND (next_try IS NOT NULL OR last_error IS NOT NULL
                  OR tries = 0)) OR tries NOT BETWEEN 0 AND 8
              OR (answer_time IS NULL AND next_try IS NULL AND last_error IS NULL)
              OR out_trade_no NOT IN (SELECT out_trade_no FROM platform_trade)""",
    ),
)
