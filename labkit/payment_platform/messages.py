"""The messages inside the platform: the commands of its steps, and their answers."""

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field

from labkit.results import Message
from labkit.runtime.steps import Event


class OpenTrade(Message):
    """Open a trade for the merchant.

    Attributes:
        out_trade_no: the merchant's own number of it, unique.
        token: of the cashier page's address.
        time_expire: business time from which it can no longer be paid.
        notify_url: of the merchant, for notices.
    """

    out_trade_no: int
    token: str
    subject: str
    total_amount: int = Field(gt=0)
    time_expire: datetime
    notify_url: str


class FindTrade(Message):
    """Query a trade for the merchant, or close it."""

    out_trade_no: int


class CashierToken(Message):
    """The token of a cashier page, with which a buyer opens it, pays or gives up."""

    token: str


class CashierTrade(Message):
    """A trade as it is now.

    Attributes:
        close_time: when it was closed; None if its time is over and nobody has closed it yet.
        now: business time of the answer.
    """

    token: str
    out_trade_no: str
    trade_no: str
    subject: str
    total_amount: int
    trade_status: str
    time_expire: datetime
    pay_time: datetime | None
    close_time: datetime | None
    now: datetime


class Refund(Message):
    """Refund money of a trade for the merchant, once under each `out_request_no`."""

    out_trade_no: int
    out_request_no: int
    refund_amount: int = Field(gt=0)


class Refunded(Message):
    """Money that was refunded."""

    out_trade_no: int
    out_request_no: int
    refund_amount: int


class BillDay(Message):
    """Write the bill of a business day."""

    day: date


class TradeEnded(Event):
    """A trade was paid or closed, so the merchant gets a notice. Its order is `out_trade_no`."""

    topic: ClassVar[str] = "notify"


class DueNotices(Message):
    """Find at most `limit` notices that are due."""

    limit: int


class Notice(Message):
    """A notice that is due.

    Attributes:
        tries: how often it was sent before.
        now: business time.
    """

    notify_id: int
    notify_url: str
    tries: int
    now: datetime
    out_trade_no: int
    trade_no: int
    trade_status: str
    subject: str
    total_amount: int
    pay_time: datetime | None


class NoticeTried(Message):
    """A notice was sent, and answered or not.

    Attributes:
        tries: how often it was sent before; if another try was noted meanwhile, that stands.
        error: the answer in place of `success`; empty if it was `success`.
    """

    notify_id: int
    tries: int
    error: str = ""
