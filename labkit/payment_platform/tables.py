"""The platform's tables. Money is whole cents (分), times are business times in UTC."""

from sqlalchemy import Column, Index, Integer, MetaData, String, Table

from labkit.runtime.db.tables import Moment, Whole

#: Of its own: what the shop makes of its tables must not touch a third party's.
metadata = MetaData()
#: The service that they are of, and the name of its database.
SERVICE = "platform"

#: 交易: a trade moves once, from waiting to paid or to closed.
trade = Table(
    "platform_trade",
    metadata,
    Column("out_trade_no", Whole, primary_key=True, autoincrement=False),  # 商户订单号
    Column("trade_no", Whole, nullable=False, unique=True),  # 交易号
    Column("token", String(64), nullable=False, unique=True),  # of the cashier page
    Column("subject", String(255), nullable=False),
    Column("total_amount", Whole, nullable=False),
    Column("refunded_amount", Whole, nullable=False),
    Column("trade_status", String(16), nullable=False),
    Column("notify_url", String(255), nullable=False),
    Column("time_expire", Moment, nullable=False),  # from then on it can no longer be paid
    Column("add_time", Moment, nullable=False),
    Column("pay_time", Moment),
    Column("close_time", Moment),
    Index("platform_trade_by_pay_time", "pay_time"),
)

#: 退款
refund = Table(
    "platform_refund",
    metadata,
    Column("out_request_no", Whole, primary_key=True, autoincrement=False),  # 退款请求号
    Column("out_trade_no", Whole, nullable=False),
    Column("amount", Whole, nullable=False),
    Column("refund_time", Moment, nullable=False),
    Index("platform_refund_by_time", "refund_time"),
)

#: 异步通知: how a trade ended, told until the merchant answers `success`.
notice = Table(
    "platform_notice",
    metadata,
    Column("notify_id", Whole, primary_key=True, autoincrement=False),
    Column("out_trade_no", Whole, nullable=False, unique=True),
    Column("tries", Integer, nullable=False),
    Column("next_try", Moment),  # by the lab clock; NULL: answered, or given up
    Column("add_time", Moment, nullable=False),
    Column("answer_time", Moment),  # when it was answered `success`
    Column("last_error", String(255)),
    Index("platform_notice_due", "next_try"),
)

PLATFORM_TABLES = (trade, refund, notice)
