"""What travels about payments: to the pay service, and between it and the payment platform.

Amounts are whole cents (分). The platform's states are Alipay's.
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
    """Look a payment up, or look after it."""

    pay_id: int


class PaymentFound(Message):
    """A payment as the shop knows it.

    Attributes:
        is_paid: 0 unpaid, 1 paid, 2 closed.
        refund_id: where it is or will be refunded; `refund_time` says when it was.
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
    """The platform's notification (异步通知), as it came: nothing of it is believed."""

    fields: tuple[tuple[str, str], ...]


class AcceptPayment(Message):
    """Let one payment be the one that pays for its order."""

    order_id: int
    pay_id: int
    pay_amount: int


class DueQuery(Message):
    """Find or claim what is due, at most `limit` of it."""

    limit: int


class CheckDue(Message):
    """A payment about which the platform is to be asked.

    Attributes:
        is_paid: as it was when it was claimed.
        add_time: business time at which it was opened.
        turn: its next check, as the claim has set it (wall-clock ms). Whoever comes with an answer
            and finds another one was overtaken; None: nobody was to ask, and a person does.
        troubled: whether the cause of an earlier trouble is kept.
    """

    pay_id: int
    order_id: int
    pay_amount: int
    is_paid: int
    add_time: datetime
    turn: int | None
    troubled: bool


class RefundDue(Message):
    """A refund to be sent.

    Attributes:
        turn: its next try, as the claim has set it (wall-clock ms); see `CheckDue`.
    """

    refund_id: int
    pay_id: int
    order_id: int
    amount: int
    turn: int


class PayTrouble(Message):
    """Why the platform could not be asked about a payment or a refund, for people to see.

    Attributes:
        id: of the payment or the refund.
        turn: in which it was asked.
        error: None where the platform has answered, and what was kept is over.
    """

    id: int
    turn: int
    error: str | None


class CreateTrade(Message):
    """Open a trade at the platform.

    Attributes:
        subject: what is bought, for the cashier page.
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


class TradeSeen(Message):
    """What the platform says of a payment's trade, in a callback or in answer to a query."""

    pay_id: int
    trade_no: TradeNo
    trade_status: str
    total_amount: int

    @classmethod
    def of(cls, trade: TradeFound) -> Self:
        """What the platform answered."""
        return cls(**trade.model_dump(exclude={"cashier_url"}))


class RefundTrade(Message):
    """Give money back at the platform, once for each refund id."""

    order_id: int
    pay_id: int
    refund_id: int
    amount: int


class TradeRefunded(Message):
    """Money that the platform gave back."""

    pay_id: int
    refund_id: int
    amount: int


class FindPayLog(Message):
    """Look up what the log service wrote about an order's payments."""

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
