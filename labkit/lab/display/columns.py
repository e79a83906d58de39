"""The display of tables: which columns are shown, which are the key, and labels for codes."""

#: table → the columns that are shown; `raw=True` shows all.
SHOWN_COLUMNS = {
    "trade_order": (
        "order_id",
        "user_id",
        "order_status",
        "pay_status",
        "goods_number",
        "order_amount",
        "coupon_paid",
        "money_paid",
        "pay_amount",
        "cancel_time",
    ),
    "trade_order_request": ("user_id", "order_id", "add_time"),
    "trade_goods": ("goods_id", "goods_name", "goods_number", "goods_price"),
    "trade_goods_number_log": ("goods_id", "order_id", "direction", "goods_number", "log_time"),
    "trade_coupon": ("coupon_id", "coupon_price", "user_id", "is_used", "order_id"),
    "trade_coupon_log": ("coupon_id", "order_id", "direction", "user_id", "coupon_price"),
    "trade_user": ("user_id", "user_name", "user_money", "user_score"),
    "trade_user_money_log": ("user_id", "order_id", "money_log_type", "use_money", "create_time"),
    "trade_user_score_log": ("user_id", "order_id", "score_log_type", "use_score", "create_time"),
    "trade_pay": ("pay_id", "order_id", "pay_amount", "is_paid", "trade_no", "pay_time"),
    "trade_refund": ("refund_id", "pay_id", "order_id", "amount", "state", "reason", "refund_time"),
    "trade_pay_log": ("pay_id", "direction", "order_id", "user_id", "amount", "log_time"),
    "platform_trade": (
        "out_trade_no",
        "trade_no",
        "subject",
        "total_amount",
        "refunded_amount",
        "trade_status",
        "pay_time",
    ),
    "platform_refund": ("out_request_no", "out_trade_no", "amount", "refund_time"),
    "platform_notice": ("notify_id", "out_trade_no", "tries", "answer_time", "next_try"),
    "trade_operation": ("service", "order_id", "operation", "outcome", "amount"),
    "trade_mq_producer": ("service", "event_id", "topic", "msg_key", "groups", "status"),
    "trade_mq_consumer_log": ("service", "event_id", "topic", "msg_key", "status"),
    "trade_mq_forgotten": ("service", "part", "last_event", "rounds", "messages"),
}
#: column → code → its label.
CODE_LABELS = {
    "order_status": {0: "unconfirmed", 1: "confirmed", 2: "cancelled", 4: "returned"},
    "pay_status": {0: "unpaid", 2: "paid"},
    "is_used": {0: "no", 1: "yes"},
    "money_log_type": {0: "opening", 1: "paid", 2: "refunded"},
    "score_log_type": {0: "opening", 1: "earned", 2: "taken back"},
    "is_paid": {0: "unpaid", 1: "paid", 2: "closed"},
    "state": {0: "open", 1: "refunded", 2: "given up"},
}
#: table → the label of each code in its column `status`.
STATUS_LABELS = {
    "trade_mq_producer": {0: "unsent", 1: "sent", 2: "settled", 3: "given up"},
    "trade_mq_consumer_log": {0: "waiting", 1: "done", 2: "dead"},
}
#: table → the columns that identify a row.
ROW_KEYS = {
    "trade_order": ("order_id",),
    "trade_order_request": ("order_id",),
    "trade_goods": ("goods_id",),
    "trade_goods_number_log": ("goods_id", "order_id", "direction"),
    "trade_coupon": ("coupon_id",),
    "trade_coupon_log": ("coupon_id", "order_id", "direction"),
    "trade_user": ("user_id",),
    "trade_user_money_log": ("user_id", "order_id", "money_log_type"),
    "trade_user_score_log": ("user_id", "order_id", "score_log_type"),
    "trade_pay": ("pay_id",),
    "trade_refund": ("refund_id",),
    "trade_pay_log": ("pay_id", "direction"),
    "platform_trade": ("out_trade_no",),
    "platform_refund": ("out_request_no",),
    "platform_notice": ("notify_id",),
    "trade_operation": ("order_id", "operation"),
    "trade_mq_producer": ("event_id",),
    "trade_mq_consumer_log": ("event_id", "service"),
    "trade_mq_forgotten": ("service", "part"),
}
#: Rows are sorted by their key; these columns of it are sorted in this order.
SORT_ORDER = {
    "operation": (
        "save_pre_order",
        "deduct_stock",
        "use_coupon",
        "deduct_balance",
        "confirm_order",
        "accept_payment",
        "record_paid",
        "add_points",
        "log_payment",
        "cancel_failed",
        "cancel_expired",
        "cancel_unpaid",
        "cancel_by_user",
        "return_order",
    ),
    "service": ("order", "goods", "coupon", "user", "pay", "log"),
    "direction": ("opening", "deduct", "use", "return", "paid", "refunded"),
}
