"""The messages between services: commands (imperative), events (past tense) and answers.

Amounts are whole cents (分), numbers are pieces. No compensation ever uses an amount of a message.
"""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from labkit.results import Message
from labkit.runtime import Event


class FindGoods(Message):
    """Look goods up."""

    goods_id: int


class GoodsFound(Message):
    """Goods as they are now; another buyer may change them at any moment."""

    goods_id: int
    goods_name: str
    goods_number: int
    goods_price: int


class DeductStock(Message):
    """Deduct pieces from the stock for an order."""

    order_id: int
    goods_id: int
    goods_number: int = Field(gt=0)


class FindCoupon(Message):
    """Look a coupon up."""

    coupon_id: int


class CouponFound(Message):
    """A coupon as it is now."""

    coupon_id: int
    coupon_price: int
    user_id: int
    is_used: bool


class UseCoupon(Message):
    """Use a coupon for an order."""

    order_id: int
    coupon_id: int
    user_id: int
    coupon_price: int = Field(ge=0)


class FindUser(Message):
    """Look a user up."""

    user_id: int


class UserFound(Message):
    """A user as it is now."""

    user_id: int
    user_name: str
    user_money: int


class DeductBalance(Message):
    """Deduct money from a user's balance for an order."""

    order_id: int
    user_id: int
    money_paid: int = Field(gt=0)


class OpenOrder(Message):
    """Get the order id that a user's idempotency key stands for."""

    user_id: int
    idempotency_key: str = Field(max_length=128)
    request_hash: str


class Opening(Message):
    """The order id, and the final answer where the key has got one already."""

    order_id: int
    answer: str | None = None


class PlaceOrder(Message):
    """The request of a client: 下单. The client works out the fee and the amount; we check them.

    Each field is a column of `trade_order` of the same name.
    """

    user_id: int
    goods_id: int
    goods_number: int
    goods_price: int
    shipping_fee: int
    order_amount: int
    money_paid: int
    coupon_id: int | None
    address: str
    consignee: str


class ConfirmOrder(Message):
    """Place the order that an id was opened for."""

    order_id: int
    request: PlaceOrder


class PreOrder(Message):
    """A checked order, with every amount worked out.

    Each field but the request is a column of `trade_order` of the same name.
    """

    order_id: int
    request: PlaceOrder
    goods_amount: int
    coupon_paid: int
    pay_amount: int


class RefuseOrder(Message):
    """Store a refusal as the final answer to a request of which nothing was saved."""

    order_id: int
    code: int
    message: str


class OrderPlaced(Message):
    """The answer to a client: which order."""

    order_id: int


class ConfirmPreOrder(Message):
    """Confirm an order that was saved unconfirmed and has all that it needs.

    Attributes:
        pay_amount: what is left to pay; if that is nothing, the order is paid.
    """

    order_id: int
    user_id: int
    pay_amount: int


class FindOrder(Message):
    """Look up something about one order."""

    order_id: int


class CancelOrder(Message):
    """Cancel an order that is not confirmed, or not paid.

    Attributes:
        code: of the catalogue, for the client.
        reason: for people.
    """

    order_id: int
    code: int
    reason: str = Field(max_length=255)


class UserOrder(Message):
    """A user cancels or returns an order."""

    order_id: int
    user_id: int


class OrderFound(Message):
    """An order as its user sees it."""

    order_id: int
    user_id: int
    order_status: int
    pay_status: int
    shipping_status: int
    address: str
    consignee: str
    goods_id: int
    goods_number: int
    goods_price: int
    goods_amount: int
    shipping_fee: int
    order_amount: int
    coupon_id: int | None
    coupon_paid: int
    money_paid: int
    pay_amount: int
    add_time: datetime
    confirm_time: datetime | None
    pay_time: datetime | None
    cancel_time: datetime | None
    cancel_reason: str | None
    refund_time: datetime | None


class OrderCancelled(Event):
    """The order was cancelled: each service returns what it really took for it."""

    topic: ClassVar[str] = "order_cancel"
    tag: ClassVar[str] = "cancelled"


class OrderReturned(Event):
    """A paid order was returned in full: each service returns what it really took for it."""

    topic: ClassVar[str] = "order_return"
    tag: ClassVar[str] = "returned"


class OrderPaid(Event):
    """The order is paid in full.

    Attributes:
        pay_id: the payment; the order's own id if balance and coupon have paid it in full.
    """

    topic: ClassVar[str] = "paid"
    tag: ClassVar[str] = "paid"

    user_id: int
    pay_id: int
    pay_amount: int


class OrderRefunded(Event):
    """A payment was refunded: each service undoes what the payment had brought, if anything."""

    topic: ClassVar[str] = "refunded"
    tag: ClassVar[str] = "refunded"

    user_id: int
    pay_id: int
    refund_id: int
    amount: int
