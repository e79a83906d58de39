"""The rules that an order's figures must meet: pure functions, cents in and cents out.

To add a rule, yield its code and its text from the function of its subject: goods and shipping in
`_goods_rules`, the balance in `_balance_rules`, coupons in `_coupon_rules`. What changes the amount
to pay is worked out in `check`.
"""

from collections.abc import Iterator

from labkit.results import Result
from labkit.shop.codes import Code
from labkit.shop.messages import ConfirmOrder, CouponFound, GoodsFound, PreOrder, UserFound

FREE_SHIPPING_ABOVE = 100_00
SHIPPING_FEE = 10_00


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
    asked = command.request
    goods_amount = asked.goods_price * asked.goods_number
    coupon_paid = coupon.coupon_price if coupon else 0
    pay_amount = asked.order_amount - asked.money_paid - coupon_paid
    broken = [
        *_goods_rules(command, goods),
        *_balance_rules(command, user),
        *_coupon_rules(command, coupon),
    ]
    if pay_amount < 0:
        text = f"money_paid {asked.money_paid} and the coupon exceed order_amount"
        broken.append((Code.MONEY_MORE_THAN_AMOUNT, f"{text} {asked.order_amount}"))
    if broken:
        code, text = broken[0]
        return Result[PreOrder].refused(code, f"order {command.order_id}: {text}")
    return Result[PreOrder].ok(
        PreOrder(
            order_id=command.order_id,
            request=asked,
            goods_amount=goods_amount,
            coupon_paid=coupon_paid,
            pay_amount=pay_amount,
        )
    )


def _goods_rules(command: ConfirmOrder, goods: GoodsFound) -> Iterator[tuple[Code, str]]:
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


def _balance_rules(command: ConfirmOrder, user: UserFound) -> Iterator[tuple[Code, str]]:
    asked = command.request
    if asked.money_paid < 0:
        yield Code.MONEY_NEGATIVE, f"money_paid {asked.money_paid} must not be below 0"
    if asked.money_paid > user.user_money:
        yield (
            Code.MONEY_MORE_THAN_BALANCE,
            f"money_paid {asked.money_paid} is more than the balance {user.user_money}",
        )


def _coupon_rules(command: ConfirmOrder, coupon: CouponFound | None) -> Iterator[tuple[Code, str]]:
    if coupon is None:
        return
    if coupon.user_id != command.request.user_id:
        text = f"coupon_id {coupon.coupon_id} is not of user_id {command.request.user_id}"
        yield Code.COUPON_INVALID, text
    if coupon.is_used:
        yield Code.COUPON_ALREADY_USED, f"coupon_id {coupon.coupon_id} is used already"
