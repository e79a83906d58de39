"""What travels inside the platform: what its steps are asked, and what they answer."""

from datetime import date, datetime
from typing import ClassVar

from pydantic import Field

from labkit.results import Message
from labkit.runtime.steps import Event


class OpenTrade(Message):
    """The merchant wants to be paid.

    Attributes:
        out_trade_no: the merchant's own number of it, once.
        token: what the address of the cashier page will bear.
        time_expire: business time from which on it can no longer be paid.
        notify_url: where the merchant wants to be told.
    """

    out_trade_no: int
    token: str
    subject: str
    total_amount: int = Field(gt=0)
    time_expire: datetime
    notify_url: str


class FindTrade(Message):
    """The merchant asks about a trade, or closes it."""

    out_trade_no: int


class CashierToken(Message):
    """Someone opens the cashier page, pays there or gives up."""

    token: str


class CashierTrade(Message):
    """A trade as it is now.

    Attributes:
        close_time: when it was closed; None where its time is over and nobody has closed it yet.
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
    """The merchant gives money of a trade back, once under each `out_request_no`."""

    out_trade_no: int
    out_request_no: int
    refund_amount: int = Field(gt=0)


class Refunded(Message):
    """Money that was given back."""

    out_trade_no: int
    out_request_no: int
    refund_amount: int


class BillDay(Message):
    """The bill of a business day is asked for."""

    day: date


class TradeEnded(Event):
    """A trade was paid or closed, which the merchant will be told. Its order is `out_trade_no`."""

    topic: ClassVar[str] = "notify"


class DueNotices(Message):
    """Which notices are to be sent now, as many as `limit`."""

    limit: int


class Notice(Message):
    """A notice that is to be sent.

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
        tries: how often it was sent before; what another try has noted meanwhile stands.
        error: what was answered in place of `success`; empty where it was `success`.
    """

    notify_id: int
    tries: int
    error: str = ""
