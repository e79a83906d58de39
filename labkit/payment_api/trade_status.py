"""The states of a trade at the payment platform, which are Alipay's."""

from enum import StrEnum


class TradeStatus(StrEnum):
    """The state of a trade."""

    WAIT_BUYER_PAY = "WAIT_BUYER_PAY"
    TRADE_SUCCESS = "TRADE_SUCCESS"
    TRADE_FINISHED = "TRADE_FINISHED"  # paid, and past the time in which it may be given back
    TRADE_CLOSED = "TRADE_CLOSED"
    TRADE_NOT_EXIST = "TRADE_NOT_EXIST"


#: The states in which the platform has the money.
PAID_STATES = (TradeStatus.TRADE_SUCCESS, TradeStatus.TRADE_FINISHED)
#: The states of a trade that exists.
EXISTING_STATES = (TradeStatus.WAIT_BUYER_PAY, TradeStatus.TRADE_CLOSED, *PAID_STATES)
