"""What every answer of the shop is: a `Result`, with a code from one catalogue.

A business refusal is a returned `Result`, never an exception; exceptions are for the unexpected.
"""

from enum import IntEnum
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict


class Code(IntEnum):
    """The catalogue: 1 is success; failures come in families by their first digit."""

    SUCCESS = 1
    BAD_REQUEST = -1
    # 1xxxx: the order
    ORDER_STATUS_UPDATE_FAILED = 10001
    SHIPPING_FEE_WRONG = 10002
    ORDER_AMOUNT_WRONG = 10003
    ORDER_SAVE_FAILED = 10004
    ORDER_CONFIRM_FAILED = 10005
    ORDER_NOT_FOUND = 10006
    ORDER_UNDECIDED = 10007
    ORDER_CANCELLED = 10008
    IDEMPOTENCY_KEY_REUSED = 10009
    DEPENDENCY_AWAY = 10010
    # 2xxxx: goods
    GOODS_MISSING = 20001
    GOODS_PRICE_WRONG = 20002
    STOCK_SHORT = 20003
    STOCK_DEDUCT_FAILED = 20004
    GOODS_NUMBER_WRONG = 20005
    # 3xxxx: the user
    USER_MISSING = 30002
    BALANCE_DEDUCT_FAILED = 30003
    ALREADY_REFUNDED = 30004
    # 4xxxx: coupons
    COUPON_MISSING = 40001
    COUPON_INVALID = 40002
    COUPON_USE_FAILED = 40003
    COUPON_ALREADY_USED = 40004
    # 5xxxx: money
    MONEY_NEGATIVE = 50001
    MONEY_MORE_THAN_BALANCE = 50002
    MONEY_MORE_THAN_AMOUNT = 50003
    # 6xxxx: the message queue
    MQ_TOPIC_EMPTY = 60001
    MQ_BODY_EMPTY = 60002
    MQ_SEND_FAILED = 60003
    # 7xxxx: payments
    PAYMENT_NOT_FOUND = 70001
    PAYMENT_ALREADY_PAID = 70002
    PAYMENT_ERROR = 70003
    ORDER_NOT_PAYABLE = 70004


#: HTTP status by code; a code that is not named here is refused by a business rule: 422.
HTTP_STATUS = {
    Code.SUCCESS: 200,
    Code.BAD_REQUEST: 400,
    Code.ORDER_STATUS_UPDATE_FAILED: 409,
    Code.ORDER_NOT_FOUND: 404,
    Code.ORDER_UNDECIDED: 202,
    Code.IDEMPOTENCY_KEY_REUSED: 409,
    Code.DEPENDENCY_AWAY: 503,
    Code.PAYMENT_NOT_FOUND: 404,
    Code.PAYMENT_ALREADY_PAID: 409,
    Code.ORDER_NOT_PAYABLE: 409,
}


class Message(BaseModel):
    """Base of everything that travels: frozen, typed, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T")


class Result(Message, Generic[T]):
    """The answer to a command or a query.

    Attributes:
        success: whether what was asked for holds now.
        code: a number of the catalogue (`Code`).
        name: the code's constant, for people.
        message: what happened, to which order, what to do.
        data: what was asked for, where there is something to hand over.
    """

    success: bool
    code: int
    name: str
    message: str
    data: T | None = None

    @classmethod
    def ok(cls, data: T | None = None, message: str = "done") -> Self:
        """What was asked for holds, and here is what it gave."""
        return cls(success=True, code=1, name="SUCCESS", message=message, data=data)

    @classmethod
    def no(cls, code: Code, message: str, data: T | None = None) -> Self:
        """What was asked for was refused; `message` says why and names the ids."""
        return cls(success=False, code=code, name=code.name, message=message, data=data)

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return HTTP_STATUS.get(Code(self.code), 422)

    @property
    def final(self) -> bool:
        """Whether asking again would get the same answer for ever, so that it may be stored.

        A wrong state (409), an undecided order (202) and an absent dependency (503) may pass.
        """
        return self.status in (200, 422)
