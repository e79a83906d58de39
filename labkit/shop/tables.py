"""The shop's tables. Money is whole cents (分), times are business times in UTC."""

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from labkit.runtime import RUNTIME_TABLES, CauseText, EnumInteger, Moment, Whole

metadata = MetaData()

#: 订单表
order = Table(
    "trade_order",
    metadata,
    Column("order_id", Whole, primary_key=True, autoincrement=False),
    Column("user_id", Whole, nullable=False),
    Column("order_status", EnumInteger, nullable=False),
    Column("pay_status", EnumInteger, nullable=False),
    Column("shipping_status", Integer, nullable=False),
    Column("address", String(255), nullable=False),
    Column("consignee", String(64), nullable=False),
    Column("goods_id", Whole, nullable=False),
    Column("goods_number", Whole, nullable=False),
    Column("goods_price", Whole, nullable=False),
    Column("goods_amount", Whole, nullable=False),
    Column("shipping_fee", Whole, nullable=False),
    Column("order_amount", Whole, nullable=False),
    Column("coupon_id", Whole),
    Column("coupon_paid", Whole, nullable=False),
    Column("money_paid", Whole, nullable=False),  # from the balance
    Column("pay_amount", Whole, nullable=False),  # what is left to pay
    Column("add_time", Moment, nullable=False),
    Column("confirm_time", Moment),
    Column("pay_time", Moment),
    Column("cancel_time", Moment),  # when the cancel message came round
    Column("cancel_reason", String(255)),
    Column("refund_time", Moment),  # when the refund of its payment came round
    Index("order_by_state", "order_status", "pay_status", "confirm_time"),
)

#: Idempotency key of a user → order id, and the answer that the request got.
request = Table(
    "trade_order_request",
    metadata,
    Column("user_id", Whole, primary_key=True, autoincrement=False),
    Column("idempotency_key", String(128), primary_key=True),
    Column("order_id", Whole, nullable=False, unique=True),
    Column("request_hash", String(64), nullable=False),
    Column("answer", Text),
    Column("add_time", Moment, nullable=False),
)

#: 商品表
goods = Table(
    "trade_goods",
    metadata,
    Column("goods_id", Whole, primary_key=True, autoincrement=False),
    Column("goods_name", String(100), nullable=False),
    Column("goods_number", Whole, nullable=False),  # stock
    Column("goods_price", Whole, nullable=False),
    Column("goods_desc", String(255), nullable=False),
    Column("add_time", Moment, nullable=False),
)

#: 订单商品日志表
number_log = Table(
    "trade_goods_number_log",
    metadata,
    Column("goods_id", Whole, primary_key=True, autoincrement=False),
    Column("order_id", Whole, primary_key=True, autoincrement=False),  # 0 at opening
    Column("direction", String(10), primary_key=True),
    Column("goods_number", Whole, nullable=False),
    Column("log_time", Moment, nullable=False),
    Index("number_log_by_order", "order_id"),
)

#: 优惠券表
coupon = Table(
    "trade_coupon",
    metadata,
    Column("coupon_id", Whole, primary_key=True, autoincrement=False),
    Column("coupon_price", Whole, nullable=False),
    Column("user_id", Whole, nullable=False),
    Column("order_id", Whole),
    Column("is_used", Integer, nullable=False),
    Column("used_time", Moment),
    Index("coupon_by_order", "order_id"),
)

#: 优惠券日志表
coupon_log = Table(
    "trade_coupon_log",
    metadata,
    Column("coupon_id", Whole, primary_key=True, autoincrement=False),
    Column("order_id", Whole, primary_key=True, autoincrement=False),  # 0 at opening
    Column("direction", String(10), primary_key=True),
    Column("user_id", Whole, nullable=False),
    Column("coupon_price", Whole, nullable=False),
    Column("log_time", Moment, nullable=False),
    Index("coupon_log_by_order", "order_id"),
)

#: 用户表
user = Table(
    "trade_user",
    metadata,
    Column("user_id", Whole, primary_key=True, autoincrement=False),
    Column("user_name", String(64), nullable=False),
    Column("user_mobile", String(20), nullable=False),
    Column("user_score", Whole, nullable=False),  # 积分
    Column("user_reg_time", Moment, nullable=False),
    Column("user_money", Whole, nullable=False),  # balance
)

#: 用户余额日志表
money_log = Table(
    "trade_user_money_log",
    metadata,
    Column("user_id", Whole, nullable=False),
    Column("order_id", Whole, nullable=False),  # 0 at opening
    Column("money_log_type", EnumInteger, nullable=False),
    Column("use_money", Whole, nullable=False),
    Column("create_time", Moment, nullable=False),
    UniqueConstraint("user_id", "order_id", "money_log_type", name="money_log_once"),
    Index("money_log_by_order", "order_id"),
)

#: 用户积分日志表
score_log = Table(
    "trade_user_score_log",
    metadata,
    Column("user_id", Whole, nullable=False),
    Column("order_id", Whole, nullable=False),  # 0 at opening
    Column("score_log_type", EnumInteger, nullable=False),
    Column("use_score", Whole, nullable=False),
    Column("create_time", Moment, nullable=False),
    UniqueConstraint("user_id", "order_id", "score_log_type", name="score_log_once"),
    Index("score_log_by_order", "order_id"),
)

#: 支付表
pay = Table(
    "trade_pay",
    metadata,
    Column("pay_id", Whole, primary_key=True, autoincrement=False),
    Column("order_id", Whole, nullable=False),
    Column("user_id", Whole, nullable=False),
    Column("pay_amount", Whole, nullable=False),
    Column("is_paid", EnumInteger, nullable=False),
    Column("trade_no", String(64)),  # the platform's number
    Column("open_order_id", Whole, unique=True),  # the order, while this is its open payment
    Column("add_time", Moment, nullable=False),
    Column("pay_time", Moment),
    Column("close_time", Moment),
    Column("tries", Integer, nullable=False),
    Column("next_check", Whole),  # wall-clock ms of the next question to the platform, if any
    Column("last_error", CauseText),  # with no next check: why the check was given up
    Index("pay_by_order", "order_id"),
    Index("pay_due", "next_check"),
)

#: 退款表
refund = Table(
    "trade_refund",
    metadata,
    Column("refund_id", Whole, primary_key=True, autoincrement=False),
    Column("pay_id", Whole, nullable=False, unique=True),  # a payment is refunded once
    Column("order_id", Whole, nullable=False),
    Column("user_id", Whole, nullable=False),
    Column("amount", Whole, nullable=False),
    Column("state", EnumInteger, nullable=False),
    Column("reason", String(255), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try", Whole, nullable=False),  # wall-clock ms
    Column("add_time", Moment, nullable=False),
    Column("refund_time", Moment),
    Column("last_error", CauseText),
    Index("refund_due", "state", "next_try"),
)

#: 支付日志表
pay_log = Table(
    "trade_pay_log",
    metadata,
    Column("pay_id", Whole, primary_key=True, autoincrement=False),
    Column("direction", String(10), primary_key=True),  # paid, refunded
    Column("order_id", Whole, nullable=False),
    Column("user_id", Whole, nullable=False),
    Column("amount", Whole, nullable=False),
    Column("log_time", Moment, nullable=False),
    Index("pay_log_by_order", "order_id"),
)

#: Service → the tables of its database.
TABLES = {
    "order": (order, request, *RUNTIME_TABLES),
    "goods": (goods, number_log, *RUNTIME_TABLES),
    "coupon": (coupon, coupon_log, *RUNTIME_TABLES),
    "user": (user, money_log, score_log, *RUNTIME_TABLES),
    "pay": (pay, refund, *RUNTIME_TABLES),
    "log": (pay_log, *RUNTIME_TABLES),
}
