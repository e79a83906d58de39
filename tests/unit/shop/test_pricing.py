"""The rules of an order's figures: each alone refuses, and what passes adds up."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.results import Result
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order import pricing
from tests.support.shopping import asked
from tests.support.store import COUPON, PRICE

ORDER = 1001
INT64 = 2**63 - 1
GOODS = m.GoodsFound(goods_id=1, goods_name="华为P30", goods_number=10, goods_price=PRICE)
USER = m.UserFound(user_id=1, user_name="刘备", user_money=900_00)
MINE = m.CouponFound(coupon_id=1, coupon_price=COUPON, user_id=1, is_used=False)


def check(
    request: m.PlaceOrder,
    goods: m.GoodsFound = GOODS,
    user: m.UserFound = USER,
    coupon: m.CouponFound | None = MINE,
) -> Any:
    return pricing.check(m.ConfirmOrder(order_id=ORDER, request=request), goods, user, coupon)


def changed(message: m.Message, **values: Any) -> Any:
    return message.model_copy(update=values)


def test_a_request_that_keeps_all_rules_passes() -> None:
    """Its pre-order bears every amount: goods, coupon, balance and what is left to pay."""
    order = check(asked()).data
    assert (order.goods_amount, order.coupon_paid) == (2 * PRICE, COUPON)
    assert order.pay_amount == 2 * PRICE - COUPON - 50_00


@pytest.mark.parametrize(
    ("goods_amount", "fee"), [(1, 10_00), (100_00, 10_00), (100_01, 0), (5000_00, 0)]
)
def test_shipping_is_free_above_100_yuan_of_goods(goods_amount: int, fee: int) -> None:
    """At 100.00 the fee is still charged, a cent above it is free."""
    assert pricing.shipping_fee(goods_amount) == fee


def test_the_shipping_fee_is_charged() -> None:
    """A small order pays the fee on top of its goods."""
    small = {"goods_number": 1, "coupon_id": None, "money_paid": 0, "shipping_fee": 10_00}
    order = check(asked(**small, order_amount=PRICE + 10_00), coupon=None).data
    assert order.pay_amount == PRICE + 10_00
    without = check(asked(**small, order_amount=PRICE), coupon=None)
    assert without.code == Code.ORDER_AMOUNT_WRONG


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"goods_number": 0}, Code.GOODS_NUMBER_WRONG),
        ({"goods_number": -1}, Code.GOODS_NUMBER_WRONG),
        ({"goods_price": PRICE - 1}, Code.GOODS_PRICE_WRONG),
        ({"goods_number": 11}, Code.STOCK_SHORT),
        ({"shipping_fee": 1}, Code.SHIPPING_FEE_WRONG),
        ({"shipping_fee": -1}, Code.SHIPPING_FEE_WRONG),
        ({"order_amount": 2 * PRICE - 1}, Code.ORDER_AMOUNT_WRONG),
        ({"order_amount": -1}, Code.ORDER_AMOUNT_WRONG),
        ({"money_paid": -1}, Code.MONEY_NEGATIVE),
        ({"money_paid": 900_01}, Code.MONEY_MORE_THAN_BALANCE),
        ({"money_paid": 2 * PRICE - COUPON + 1}, Code.MONEY_MORE_THAN_AMOUNT),
    ],
)
def test_a_wrong_figure_is_refused(wrong: dict[str, int], code: Code) -> None:
    """Each rule refuses with a code of its own, and the message names the order and the field."""
    refused = check(asked(**wrong))
    assert isinstance(refused, Result)
    assert not refused.success
    assert refused.code == code
    assert str(ORDER) in refused.message
    assert {*wrong, "order_amount", "money_paid"} & set(refused.message.split())


def test_a_coupon_of_another_user_or_used_already_is_refused() -> None:
    """Only its owner can use a coupon, once."""
    assert check(asked(), coupon=changed(MINE, user_id=2)).code == Code.COUPON_INVALID
    assert check(asked(), coupon=changed(MINE, is_used=True)).code == Code.COUPON_ALREADY_USED


def test_the_last_pieces_and_the_last_cent_may_be_spent() -> None:
    """All of the stock, all of the balance, and a pay amount of zero are allowed."""
    everything = {"goods_number": 10, "order_amount": 10 * PRICE}
    spent = check(asked(**everything, money_paid=580_00), user=changed(USER, user_money=580_00))
    assert spent.data.pay_amount == 0


whole = (
    st.integers(-INT64, INT64) | st.integers(-2, 20) | st.sampled_from([PRICE, 10_00, 2 * PRICE])
)
requests = st.builds(
    asked,
    goods_number=whole,
    goods_price=whole,
    shipping_fee=whole,
    order_amount=whole,
    money_paid=whole,
)


@st.composite
def honest_requests(draw: st.DrawFn) -> m.PlaceOrder:
    """A request whose client worked its figures out by the rules, then perhaps changed one."""
    number = draw(st.integers(1, 12))
    fee = 0 if number * PRICE > 100_00 else 10_00
    figures = {
        "goods_number": number,
        "shipping_fee": fee,
        "order_amount": number * PRICE + fee,
        "money_paid": draw(st.integers(0, 900_00)),
    }
    figures |= draw(st.dictionaries(st.sampled_from(sorted(figures)), whole, max_size=1))
    return asked(**figures)


@settings(max_examples=500)
@given(
    request=honest_requests() | requests,
    stock=st.integers(0, 12),
    balance=st.integers(0, 900_00),
    coupon_price=st.none() | st.integers(0, 800_00),
)
def test_whatever_passes_adds_up(
    request: m.PlaceOrder, stock: int, balance: int, coupon_price: int | None
) -> None:
    """No request passes whose amounts do not add up, are negative, or are more than there is."""
    coupon = None if coupon_price is None else changed(MINE, coupon_price=coupon_price)
    goods, user = changed(GOODS, goods_number=stock), changed(USER, user_money=balance)

    checked = check(request, goods, user, coupon)

    assert checked.success == (checked.data is not None)
    if not checked.success:
        return
    order = checked.data
    wanted = order.request
    assert 0 < wanted.goods_number <= stock
    assert 0 <= wanted.money_paid <= balance
    assert order.goods_amount == PRICE * wanted.goods_number
    assert wanted.order_amount == order.goods_amount + wanted.shipping_fee
    assert wanted.order_amount == order.pay_amount + wanted.money_paid + order.coupon_paid
    assert min(order.pay_amount, order.coupon_paid, wanted.shipping_fee) >= 0
