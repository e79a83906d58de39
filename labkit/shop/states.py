"""The closed sets of values that the shop's tables hold, with the numbers and words as stored."""

from enum import IntEnum, StrEnum


class OrderStatus(IntEnum):
    """The state of an order, in `order_status`."""

    UNCONFIRMED = 0
    CONFIRMED = 1
    CANCELLED = 2
    RETURNED = 4


class PayStatus(IntEnum):
    """The state of an order's payment as the order service knows it, in `pay_status`."""

    UNPAID = 0
    PAID = 2


class PaymentState(IntEnum):
    """The state of a payment, in `is_paid`."""

    OPEN = 0
    PAID = 1
    CLOSED = 2


class RefundState(IntEnum):
    """The state of a refund."""

    OPEN = 0
    REFUNDED = 1
    GIVEN_UP = 2


class LogDirection(StrEnum):
    """The direction in which pieces or a coupon moved, in the logs of goods and of coupons."""

    OPENING = "opening"
    DEDUCT = "deduct"
    USE = "use"
    RETURN = "return"


class AccountLogType(IntEnum):
    """The reason why a user's balance or points changed, in their logs."""

    OPENING = 0
    PAID = 1
    REFUNDED = 2


class PayLogDirection(StrEnum):
    """The direction in which money moved, in the payment log."""

    PAID = "paid"
    REFUNDED = "refunded"
