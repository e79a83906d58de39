"""Invariants of messages' effects: a service has done what its inbox says, and nothing else.

Every handler claims an operation, or undoes one. So inbox and operations record the same events,
and each entry in one has its entry in the other, with the same time.
"""

from labkit.ops.invariants.kinds import Local, from_json

_ENDS = "('order_cancel', 'order_return')"
_PAY_ID = from_json("body", "pay_id")
#: log → its column of time, and the condition of a row that returns something.
_RETURNS = {
    "trade_goods_number_log": ("log_time", "direction = 'return'"),
    "trade_coupon_log": ("log_time", "direction = 'return'"),
    "trade_user_money_log": ("create_time", "money_log_type = 2"),
}


def returns_on_end(name: str, service: str, operation: str, log: str) -> Local:
    """Make the invariant that a service returns what it took when it handles an order's end.

    Args:
        name: of the invariant.
        service: that took something.
        operation: that took it.
        log: has what was returned, and when.
    """
    time, returned = _RETURNS[log]
    done = f"""SELECT CAST(msg_key AS INTEGER), done_time FROM trade_mq_consumer_log
               WHERE topic IN {_ENDS} AND done_time IS NOT NULL"""
    return Local(
        name,
        "Whoever heard that an order ended has given back what it took, then and at no other time.",
        service,
        f"SELECT count(*) FROM trade_mq_consumer_log WHERE topic IN {_ENDS}",
        f"""{not_undone(operation, "CAST(i.msg_key AS INTEGER)", _ENDS)}
            UNION ALL
            SELECT order_id, outcome FROM trade_operation
            WHERE operation = '{operation}' AND outcome = 'blocked'
              AND order_id > {{horizon}} AND (order_id, add_time) NOT IN ({done})
            UNION ALL
            SELECT order_id, 'returned' FROM {log}
            WHERE {returned} AND order_id > {{horizon}} AND (order_id, {time}) NOT IN ({done})""",
    )


def applies_payments(name: str, service: str, operation: str, amount: str) -> Local:
    """Make the invariant that a service applies each payment, and undoes each refunded one.

    Args:
        name: of the invariant.
        service: that handles messages about payments.
        operation: that it claims for each.
        amount: of the operation, as SQL over `cents`.
    """
    events = f"""SELECT {_PAY_ID} AS pay_id, {from_json("body", "pay_amount")} AS cents,
                        body_hash, done_time
                 FROM trade_mq_consumer_log WHERE topic = 'paid' AND status = 1"""
    refunds = f"""SELECT {_PAY_ID} FROM trade_mq_consumer_log
                  WHERE topic = 'refunded' AND status = 1"""
    return Local(
        name,
        "Whoever heard of a payment has claimed it, with its amount; a refund has undone it.",
        service,
        "SELECT count(*) FROM trade_mq_consumer_log WHERE topic IN ('paid', 'refunded')",
        f"""SELECT e.pay_id, p.outcome FROM ({events}) e
            LEFT JOIN trade_operation p ON p.order_id = e.pay_id AND p.operation = '{operation}'
            WHERE p.outcome IS NULL OR p.outcome NOT IN ('applied', 'undone', 'blocked')
               OR (p.outcome <> 'blocked' AND (p.amount <> {amount}
                   OR p.body_hash <> e.body_hash OR p.add_time <> e.done_time))
            UNION ALL
            SELECT order_id, outcome FROM trade_operation
            WHERE operation = '{operation}' AND outcome <> 'blocked' AND order_id > {{horizon}}
              AND order_id NOT IN (SELECT pay_id FROM ({events}) WHERE pay_id IS NOT NULL)
            UNION ALL
            {not_undone(operation, from_json("i.body", "pay_id"), "('refunded')")}
            UNION ALL
            SELECT order_id, outcome FROM trade_operation
            WHERE operation = '{operation}' AND outcome IN ('undone', 'blocked')
              AND order_id > {{horizon}} AND order_id NOT IN ({refunds})
            UNION ALL
            SELECT order_id, outcome FROM trade_operation
            WHERE operation = '{operation}' AND outcome = 'blocked'
              AND order_id > {{horizon}} AND (order_id, add_time) NOT IN (
                SELECT {_PAY_ID}, done_time FROM trade_mq_consumer_log
                WHERE topic = 'refunded' AND status = 1 AND json_valid(body))""",
    )


def not_undone(operation: str, key: str, topics: str) -> str:
    """Write SQL for handled messages whose operation is not undone.

    Args:
        operation: that the messages undo.
        key: the operation's key, as SQL over an inbox row `i`.
        topics: of the messages, as SQL.
    """
    return f"""SELECT i.msg_key, p.outcome FROM trade_mq_consumer_log i
            LEFT JOIN trade_operation p ON p.order_id = {key} AND p.operation = '{operation}'
            WHERE i.topic IN {topics} AND i.status = 1
              AND (p.outcome IS NULL OR p.outcome = 'applied')"""
