"""The rules that an order's figures must meet: pure functions, cents in and cents out.

The client works out price, fee and amount; the rules here compare them with what they should be.
To add a refusal, yield its code and its text from the function of its subject: goods and shipping
in `_goods_rules`, the balance in `_balance_rules`, coupons in `_coupon_rules`. To change an amount,
change `goods_amount` or `shipping_fee`; `check` takes off what is paid otherwise.
"""

from collections.abc import Iterator

from labkit.results import Result
from labkit.shop.codes import Code
from labkit.shop.messages import (
    ConfirmOrder,
    CouponFound,
    GoodsFound,
    PlaceOrder,
    PreOrder,
    UserFound,
)

FREE_SHIPPING_ABOVE = 100_00
SHIPPING_FEE = 10_00


def goods_amount(request: PlaceOrder) -> int:
    """Return the amount of the goods, without shipping."""
    return request.goods_price * request.goods_number


def shipping_fee(goods_amount: int) -> int:
    """Return the fee to charge: nothing above 100.00 yuan of goods, else 10.00."""
    return 0 if goods_amount > FREE_SHIPPING_ABOVE else SHIPPING_FEE


def check(
    command: ConfirmOrder, goods: GoodsFound, user: UserFound, coupon: CouponFound | None
) -> Result[PreOrder]:
    """Apply every rule of the shop to a request.

    Args:
        command: the client's order, with the figures that the client worked out.
        goods: the goods as they are now.
        user: the user as it is now.
        coupon: the coupon as it is now; None if the order uses none.

    Returns:
        The pre-order with all amounts worked out, or the first refusal.
    """
    request = command.request
    coupon_paid = coupon.coupon_price if coupon else 0
    pay_amount = request.order_amount - request.money_paid - coupon_paid
    broken = [
        *_goods_rules(command, goods),
        *_balance_rules(command, user),
        *_coupon_rules(command, coupon),
    ]
    if pay_amount < 0:
        text = f"money_paid {request.money_paid} and the coupon exceed order_amount"
        broken.append((Code.MONEY_MORE_THAN_AMOUNT, f"{text} {request.order_amount}"))
    if broken:
        code, text = broken[0]
        return Result[PreOrder].refused(code, f"order {command.order_id}: {text}")
    return Result[PreOrder].ok(
        PreOrder(
            order_id=command.order_id,
            request=request,
            goods_amount=goods_amount(request),
            coupon_paid=coupon_paid,
            pay_amount=pay_amount,
        )
    )


def _goods_rules(command: ConfirmOrder, goods: GoodsFound) -> Iterator[tuple[Code, str]]:
    request = command.request
    if request.goods_number <= 0:
        yield Code.GOODS_NUMBER_WRONG, f"goods_number {request.goods_number} must be above 0"
    if request.goods_price != goods.goods_price:
        yield (
            Code.GOODS_PRICE_WRONG,
            f"goods_price {request.goods_price} is not the price {goods.goods_price} of the goods",
        )
    if request.goods_number > goods.goods_number:
        text = f"goods_number {request.goods_number} is more than the {goods.goods_number} in stock"
        yield Code.STOCK_SHORT, text
    fee = shipping_fee(goods_amount(request))
    if request.shipping_fee != fee:
        yield Code.SHIPPING_FEE_WRONG, f"shipping_fee {request.shipping_fee} should be {fee}"
    amount = goods_amount(request) + fee
    if request.order_amount != amount:
        yield Code.ORDER_AMOUNT_WRONG, f"order_amount {request.order_amount} should be {amount}"


def _balance_rules(command: ConfirmOrder, user: UserFound) -> Iterator[tuple[Code, str]]:
    request = command.request
    if request.money_paid < 0:
        yield Code.MONEY_NEGATIVE, f"money_paid {request.money_paid} must not be below 0"
    if request.money_paid > user.user_money:
        yield (
            Code.MONEY_MORE_THAN_BALANCE,
            f"money_paid {request.money_paid} is more than the balance {user.user_money}",
        )


def _coupon_rules(command: ConfirmOrder, coupon: CouponFound | None) -> Iterator[tuple[Code, str]]:
    if coupon is None:
        return
    if coupon.user_id != command.request.user_id:
        text = f"coupon_id {coupon.coupon_id} is not of user_id {command.request.user_id}"
        yield Code.COUPON_INVALID, text
    if coupon.is_used:
        yield Code.COUPON_ALREADY_USED, f"coupon_id {coupon.coupon_id} is used already"
