"""The rules that an order's figures must meet: pure, cents in and cents out."""

from collections.abc import Iterator
from typing import Any

from labkit.results import Result
from labkit.shop.codes import Code
from labkit.shop.messages import ConfirmOrder, CouponFound, GoodsFound, PreOrder, UserFound

FREE_SHIPPING_ABOVE = 100_00
SHIPPING_FEE = 10_00


def shipping_fee(goods_amount: int) -> int:
    """Shipping is free above 100.00 yuan of goods, else 10.00; and it is charged."""
    return 0 if goods_amount > FREE_SHIPPING_ABOVE else SHIPPING_FEE


def check(
    command: ConfirmOrder, goods: GoodsFound, user: UserFound, coupon: CouponFound | None
) -> PreOrder | Result[Any]:
    """Apply every rule of the shop to a request.

    Args:
        command: what the client asks for, with the figures that it worked out.
        goods: the goods as they are now.
        user: the user as it is now.
        coupon: the coupon as it is now; None where none is used.

    Returns:
        The pre-order with all amounts worked out, or the first refusal.
    """
    asked = command.request
    goods_amount = asked.goods_price * asked.goods_number
    coupon_paid = coupon.coupon_price if coupon else 0
    pay_amount = asked.order_amount - asked.money_paid - coupon_paid
    broken = [*_goods(command, goods), *_money(command, user), *_coupon(command, coupon)]
    if pay_amount < 0:
        text = f"money_paid {asked.money_paid} and the coupon exceed order_amount"
        broken.append((Code.MONEY_MORE_THAN_AMOUNT, f"{text} {asked.order_amount}"))
    if broken:
        code, text = broken[0]
        return Result[Any].refused(code, f"order {command.order_id}: {text}")
    return PreOrder(
        order_id=command.order_id,
        request=asked,
        goods_amount=goods_amount,
        coupon_paid=coupon_paid,
        pay_amount=pay_amount,
    )


def _goods(command: ConfirmOrder, goods: GoodsFound) -> Iterator[tuple[Code, str]]:
    asked = command.request
    if asked.goods_number <= 0:
        yield Code.GOODS_NUMBER_WRONG, f"goods_number {asked.goods_number} must be above 0"
    if asked.goods_price != goods.goods_price:
        yield (
            Code.GOODS_PRICE_WRONG,
            f"goods_price {asked.goods_price} is not the price {goods.goods_price} of the goods",
        )
    if asked.goods_number > goods.goods_number:
        text = f"goods_number {asked.goods_number} is more than the {goods.goods_number} in stock"
        yield Code.STOCK_SHORT, text
    fee = shipping_fee(asked.goods_price * asked.goods_number)
    if asked.shipping_fee != fee:
        yield Code.SHIPPING_FEE_WRONG, f"shipping_fee {asked.shipping_fee} should be {fee}"
    amount = asked.goods_price * asked.goods_number + fee
    if asked.order_amount != amount:
        yield Code.ORDER_AMOUNT_WRONG, f"order_amount {asked.order_amount} should be {amount}"


def _money(command: ConfirmOrder, user: UserFound) -> Iterator[tuple[Code, str]]:
    asked = command.request
    if asked.money_paid < 0:
        yield Code.MONEY_NEGATIVE, f"money_paid {asked.money_paid} must not be below 0"
    if asked.money_paid > user.user_money:
        yield (
            Code.MONEY_MORE_THAN_BALANCE,
            f"money_paid {asked.money_paid} is more than the balance {user.user_money}",
        )


def _coupon(command: ConfirmOrder, coupon: CouponFound | None) -> Iterator[tuple[Code, str]]:
    if coupon is None:
        return
    if coupon.user_id != command.request.user_id:
        text = f"coupon_id {coupon.coupon_id} is not of user_id {command.request.user_id}"
        yield Code.COUPON_INVALID, text
    if coupon.is_used:
        yield Code.COUPON_ALREADY_USED, f"coupon_id {coupon.coupon_id} is used already"
