"""Invariants across databases: payments.

They hold for what is decided: orders about which no message is in flight, and payments that wait
neither for the platform nor for a refund.
"""

from labkit.ops.invariants.kinds import across

_PAID = "SELECT count(*) FROM pay.trade_pay WHERE is_paid = 1"
#: Decided payments that are paid and not refunded.
_STANDING = """(SELECT y.* FROM pay.trade_pay y
  LEFT JOIN pay.trade_refund r ON r.pay_id = y.pay_id
  WHERE y.is_paid = 1 AND r.pay_id IS NULL
    AND y.pay_id NOT IN undecided AND y.order_id NOT IN undecided)"""
_ENDED = 'SELECT count(*) FROM "order".trade_order WHERE order_status IN (2, 4)'


def _differences(what: str, unit: str, should: str, has: str) -> str:
    """Write SQL for ids whose numbers differ between two queries.

    Args:
        what: the ids are of.
        unit: of the numbers.
        should: SQL that selects `id` and the expected number `n`.
        has: SQL that selects `id` and the actual number `n`.
    """
    return f"""SELECT '{what} ' || id || ': ' || sum(has) || ' {unit}, should be ' || sum(should)
        AS breach FROM (SELECT id, n AS should, 0 AS has FROM ({should})
                        UNION ALL SELECT id, 0, n FROM ({has}))
        WHERE id NOT IN undecided GROUP BY id HAVING sum(has) <> sum(should)"""


ACROSS = (
    across(
        "orders say paid where a payment stands",
        "A confirmed order is paid if and only if a payment of its amount stands, or none is due.",
        'SELECT count(*) FROM "order".trade_order WHERE order_status = 1',
        f"""SELECT 'order ' || o.order_id || ': pay_status ' || o.pay_status || ', '
              || coalesce(sum(y.pay_amount), 0) || ' of ' || o.pay_amount || ' paid' AS breach
            FROM "order".trade_order o LEFT JOIN {_STANDING} y ON y.order_id = o.order_id
            WHERE o.order_status = 1 AND o.order_id NOT IN undecided
            GROUP BY o.order_id
            HAVING (o.pay_status = 2) <> (coalesce(sum(y.pay_amount), 0) = o.pay_amount)
                OR coalesce(sum(y.pay_amount), 0) NOT IN (0, o.pay_amount)""",
    ),
    across(
        "an ended order keeps no payment",
        "Every payment of an order that was cancelled or returned is closed or goes back.",
        _ENDED,
        f"""SELECT 'order ' || o.order_id || ' has ended, and payment ' || y.pay_id || ' stands'
              AS breach FROM {_STANDING} y JOIN "order".trade_order o ON o.order_id = y.order_id
            WHERE o.order_status IN (2, 4)
            UNION ALL
            SELECT 'order ' || o.order_id || ' has ended, and payment ' || y.pay_id || ' is open'
            FROM pay.trade_pay y JOIN "order".trade_order o ON o.order_id = y.order_id
            WHERE o.order_status IN (2, 4) AND y.is_paid = 0 AND o.order_id NOT IN undecided""",
    ),
    across(
        "an order notes its refund",
        "An order that ended, and whose payment is back, bears the time at which it heard of it.",
        _ENDED,
        """SELECT 'order ' || o.order_id || ' never heard of its refund' AS breach
           FROM "order".trade_order o WHERE o.order_status IN (2, 4) AND o.refund_time IS NULL
             AND o.order_id NOT IN undecided
             AND o.order_id IN (SELECT order_id FROM pay.trade_refund WHERE state = 1)""",
    ),
    across(
        "points match payments",
        "An order has brought one point for each whole yuan of the payment that stands, or none.",
        _PAID,
        _differences(
            "order",
            "points",
            f"SELECT order_id AS id, pay_amount / 100 AS n FROM {_STANDING}",
            """SELECT order_id AS id, CASE score_log_type WHEN 1 THEN use_score
                 ELSE -use_score END AS n FROM "user".trade_user_score_log WHERE order_id <> 0""",
        ),
    ),
    across(
        "the payment log matches payments",
        "The payment log holds each payment that stands; one that went back comes to nothing.",
        _PAID,
        _differences(
            "payment",
            "cents in the log",
            f"SELECT pay_id AS id, pay_amount AS n FROM {_STANDING}",
            """SELECT pay_id AS id, CASE direction WHEN 'paid' THEN amount ELSE -amount END AS n
               FROM log.trade_pay_log WHERE order_id NOT IN undecided""",
        ),
    ),
    across(
        "platform and shop have the same money",
        "Each payment has the same cents at the platform and in the shop, refunds taken off.",
        "SELECT count(*) FROM platform.platform_trade",
        _differences(
            "payment",
            "cents at the platform",
            f"SELECT pay_id AS id, pay_amount AS n FROM {_STANDING}",
            """SELECT out_trade_no AS id, total_amount AS n FROM platform.platform_trade
               WHERE trade_status = 'TRADE_SUCCESS'
               UNION ALL SELECT out_trade_no, -amount FROM platform.platform_refund""",
        ),
    ),
    across(
        "what may be paid is asked about",
        "The shop knows each payment at the platform as paid, or asks about it, or gave it up.",
        "SELECT count(*) FROM platform.platform_trade WHERE trade_status <> 'TRADE_CLOSED'",
        """SELECT 'trade ' || out_trade_no || ': there is no such payment' AS breach
           FROM platform.platform_trade WHERE trade_status <> 'TRADE_CLOSED'
             AND out_trade_no NOT IN (SELECT pay_id FROM pay.trade_pay)
           UNION ALL
           SELECT 'payment ' || y.pay_id || ' of order ' || y.order_id
             || ': not paid here, and nobody asks the platform about it' FROM pay.trade_pay y
           LEFT JOIN platform.platform_trade t ON t.out_trade_no = y.pay_id
           WHERE y.is_paid <> 1 AND y.next_check IS NULL AND y.last_error IS NULL
             AND (y.is_paid = 0 OR t.trade_status <> 'TRADE_CLOSED')""",
    ),
    across(
        "trades are of the shop's payments",
        "What the platform was asked to take is what the shop's payment says, under its number.",
        "SELECT count(*) FROM platform.platform_trade",
        """SELECT 'trade ' || t.out_trade_no || ' is not as its payment: ' || t.trade_status
             || ', ' || t.total_amount || ' cents, number ' || t.trade_no AS breach
           FROM platform.platform_trade t
           LEFT JOIN pay.trade_pay y ON y.pay_id = t.out_trade_no
           LEFT JOIN "order".trade_order o ON o.order_id = y.order_id
           WHERE y.pay_amount IS NOT t.total_amount
              OR (y.trade_no IS NOT NULL AND y.trade_no <> CAST(t.trade_no AS TEXT))
              OR ((t.time_expire <= o.confirm_time
                   OR t.subject NOT LIKE '_% × ' || o.goods_number)
                -- opened only to be closed: the shop had ended it, and the platform knew of none
                AND NOT (t.trade_status = 'TRADE_CLOSED' AND y.is_paid = 2
                  AND t.subject = 'payment ' || y.pay_id || ', which has ended'))
           UNION ALL
           SELECT 'payment ' || y.pay_id || ' has no trade ' || y.trade_no FROM pay.trade_pay y
           WHERE y.trade_no IS NOT NULL
             AND y.pay_id NOT IN (SELECT out_trade_no FROM platform.platform_trade)""",
    ),
    across(
        "refunds are made as they were asked for",
        "Every refund that the shop knows as made was made by the platform, once, and no other.",
        "SELECT count(*) FROM pay.trade_refund",
        """SELECT 'refund ' || r.refund_id || ' of payment ' || r.pay_id || ' was not made'
             AS breach FROM pay.trade_refund r
           LEFT JOIN platform.platform_refund p ON p.out_request_no = r.refund_id
            AND p.out_trade_no = r.pay_id AND p.amount = r.amount
           WHERE r.state = 1 AND p.out_request_no IS NULL
           UNION ALL
           SELECT 'refund ' || p.out_request_no || ' was asked for by nobody'
           FROM platform.platform_refund p
           LEFT JOIN pay.trade_refund r ON p.out_request_no = r.refund_id
            AND p.out_trade_no = r.pay_id AND p.amount = r.amount
           WHERE r.refund_id IS NULL""",
    ),
    across(
        "only an order that was confirmed is paid for",
        "Every payment is of an order that was confirmed with something left to pay.",
        "SELECT count(*) FROM pay.trade_pay",
        """SELECT 'payment ' || y.pay_id || ' is of order ' || y.order_id || ', which is free'
             AS breach FROM pay.trade_pay y
           JOIN "order".trade_order o ON o.order_id = y.order_id
           WHERE o.confirm_time IS NULL OR o.pay_amount = 0""",
    ),
)
