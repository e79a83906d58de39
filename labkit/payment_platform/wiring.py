"""The wiring of the platform, as data: its steps, from which its failpoints follow."""

from labkit.payment_platform import bill, notices, refunds, trades
from labkit.payment_platform.tables import SERVICE
from labkit.runtime.wiring import Service

PLATFORM = Service(
    name=SERVICE,
    steps=(
        trades.create_trade,
        trades.query_trade,
        trades.close_trade,
        refunds.refund_trade,
        trades.find_cashier,
        trades.pay_trade,
        trades.give_up_trade,
        notices.find_due_notices,
        notices.mark_notice,
        bill.write_bill,
    ),
    notifies=("notify",),
    answers=("create_trade",),
)
