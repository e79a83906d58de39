"""The messages about payments: to the pay service, and between it and the payment platform.

Amounts are whole cents (分).
"""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from labkit.results import Message

#: The platform's number of a trade, as long as the column that keeps it.
TradeNo = Annotated[str | None, Field(max_length=64)]


class CreatePayment(Message):
    """Pay for an order (支付)."""

    order_id: int


class OpenPayment(Message):
    """Save the payment of an order that may be paid."""

    order_id: int
    user_id: int
    pay_amount: int


class PaymentOpened(Message):
    """The open payment of an order, and where its user pays it."""

    pay_id: int
    pay_amount: int
    cashier_url: str


class FindPayment(Message):
    """Look a payment up, or ask the platform about it now."""

    pay_id: int


class PaymentFound(Message):
    """A payment as the shop knows it.

    Attributes:
        is_paid: 0 unpaid, 1 paid, 2 closed.
        refund_id: if it is or will be refunded; `refund_time` says when it was.
    """

    pay_id: int
    order_id: int
    user_id: int
    pay_amount: int
    is_paid: int
    trade_no: str | None
    add_time: datetime
    pay_time: datetime | None
    refund_id: int | None
    refund_time: datetime | None


class Callback(Message):
    """The platform's notification (异步通知), as it came and not verified yet."""

    fields: tuple[tuple[str, str], ...]


class AcceptPayment(Message):
    """Let one payment, and no other, pay for its order."""

    order_id: int
    pay_id: int
    pay_amount: int


class DueQuery(Message):
    """Find or claim at most `limit` due payments or refunds."""

    limit: int


class DueCheck(Message):
    """A payment that is due for a check: the platform is to be asked about it.

    Attributes:
        is_paid: as it was when it was claimed.
        add_time: business time at which it was opened.
        lease_until: end of the claim's lease and time of the next check (wall-clock ms). An answer
            that finds another in the row was overtaken. None: asking has ended, and a person asks
            once more.
        troubled: whether an error of an earlier check is stored.
    """

    pay_id: int
    order_id: int
    pay_amount: int
    is_paid: int
    add_time: datetime
    lease_until: int | None
    troubled: bool


class DueRefund(Message):
    """A refund to be sent.

    Attributes:
        lease_until: end of the claim's lease and time of the next try (wall-clock ms); see
            `DueCheck`.
    """

    refund_id: int
    pay_id: int
    order_id: int
    amount: int
    lease_until: int


class AttemptFailure(Message):
    """The error with which the platform could not be asked about a payment or a refund.

    Attributes:
        id: of the payment or the refund.
        lease_until: end of the lease under which it was asked (wall-clock ms).
        error: None if the platform has answered, and the stored error is over.
    """

    id: int
    lease_until: int
    error: str | None


class CreateTrade(Message):
    """Open a trade at the platform.

    Attributes:
        subject: the goods, for the cashier page.
        time_expire: business time after which it cannot be paid.
    """

    order_id: int
    pay_id: int
    subject: str
    total_amount: int
    time_expire: datetime


class AskTrade(Message):
    """Query or close a trade at the platform."""

    order_id: int
    pay_id: int


class TradeFound(Message):
    """A trade as the platform knows it; one that does not exist is TRADE_NOT_EXIST."""

    pay_id: int
    trade_no: TradeNo = None
    trade_status: str
    total_amount: int = 0
    cashier_url: str | None = None


class TradeReport(Message):
    """The state of a payment's trade, as the platform reports it in a callback or an answer."""

    pay_id: int
    trade_no: TradeNo
    trade_status: str
    total_amount: int

    @classmethod
    def of(cls, trade: TradeFound) -> Self:
        """Make a report of the platform's answer."""
        return cls(**trade.model_dump(exclude={"cashier_url"}))


class RefundTrade(Message):
    """Refund money at the platform, once for each refund id."""

    order_id: int
    pay_id: int
    refund_id: int
    amount: int


class TradeRefunded(Message):
    """Money that the platform has refunded."""

    pay_id: int
    refund_id: int
    amount: int


class FindPayLog(Message):
    """Look up the payment log of an order."""

    order_id: int


class PayLogLine(Message):
    """Money that came (`paid`) or went back (`refunded`)."""

    pay_id: int
    direction: str
    amount: int
    log_time: datetime


class PayLogFound(Message):
    """The payment log (支付日志) of one order."""

    lines: tuple[PayLogLine, ...]
