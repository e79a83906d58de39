"""How tables are shown: which columns tell, which make the key, what the codes mean."""

#: table → the columns that say what holds. The others are one argument away (`raw=True`).
SHOWN = {
    "trade_order": ("order_id", "user_id", "order_status", "pay_status", "goods_number",
                    "order_amount", "coupon_paid", "money_paid", "pay_amount", "cancel_time"),
    "trade_order_request": ("user_id", "order_id", "add_time"),
    "trade_goods": ("goods_id", "goods_name", "goods_number", "goods_price"),
    "trade_goods_number_log": ("goods_id", "order_id", "direction", "goods_number", "log_time"),
    "trade_coupon": ("coupon_id", "coupon_price", "user_id", "is_used", "order_id"),
    "trade_user": ("user_id", "user_name", "user_money", "user_score"),
    "trade_user_money_log": ("user_id", "order_id", "money_log_type", "use_money", "create_time"),
    "trade_user_score_log": ("user_id", "order_id", "score_log_type", "use_score", "create_time"),
    "trade_operation": ("service", "order_id", "operation", "outcome", "amount"),
    "trade_mq_producer": ("service", "event_id", "topic", "msg_key", "groups", "status"),
    "trade_mq_consumer_log": ("service", "event_id", "topic", "msg_key", "status"),
}  # fmt: skip
WORDS = {
    "order_status": {0: "unconfirmed", 1: "confirmed", 2: "cancelled", 4: "returned"},
    "pay_status": {0: "unpaid", 2: "paid"},
    "is_used": {0: "no", 1: "yes"},
    "money_log_type": {0: "opening", 1: "paid", 2: "refunded"},
    "score_log_type": {0: "opening", 1: "earned", 2: "taken back"},
}
STATUS = {
    "trade_mq_producer": {0: "unsent", 1: "sent", 2: "settled"},
    "trade_mq_consumer_log": {0: "waiting", 1: "done", 2: "dead"},
}
#: table → what names a row of it.
KEYS = {
    "trade_order": ("order_id",),
    "trade_order_request": ("order_id",),
    "trade_goods": ("goods_id",),
    "trade_goods_number_log": ("goods_id", "order_id", "direction"),
    "trade_coupon": ("coupon_id",),
    "trade_user": ("user_id",),
    "trade_user_money_log": ("user_id", "order_id", "money_log_type"),
    "trade_user_score_log": ("user_id", "order_id", "score_log_type"),
    "trade_operation": ("order_id", "operation"),
    "trade_mq_producer": ("event_id",),
    "trade_mq_consumer_log": ("event_id", "service"),
}
#: Rows are shown in the order of their key; these parts of it in the order of the story.
STORY = {
    "operation": ("save_pre_order", "deduct_stock", "use_coupon", "deduct_balance", "confirm_order",
                  "cancel_failed", "cancel_expired", "cancel_unpaid", "cancel_by_user",
                  "return_order", "add_points"),
    "service": ("order", "goods", "coupon", "user"),
    "direction": ("opening", "deduct", "return"),
}  # fmt: skip
