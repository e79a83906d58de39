"""The purchases that are replayed: all, in their order, as orders that the shop can take."""

from bench.purchases import purchases, seeds
from labkit.shop import messages as m
from labkit.shop.messages import CouponFound, GoodsFound, UserFound
from labkit.shop.order import pricing

ALL = list(purchases())


def test_nothing_of_the_file_is_left_out() -> None:
    """69,659 purchases of 23,570 people, as its README says, each under a mark of its own."""
    assert len(ALL) == len({purchase.mark for purchase in ALL}) == 69_659
    assert {purchase.customer for purchase in ALL} == set(range(1, 23_570 + 1))
    assert sum(purchase.pieces for purchase in ALL) == 167_881
    assert sum(purchase.cents == 0 for purchase in ALL) == 80
    assert max(purchase.cents for purchase in ALL) == 1286_01


def test_they_come_in_their_order() -> None:
    """By day, numbered from 1; a customer's coupon goes with the first purchase and no other."""
    assert [purchase.number for purchase in ALL] == list(range(1, len(ALL) + 1))
    assert [purchase.day for purchase in ALL] == sorted(purchase.day for purchase in ALL)
    assert (ALL[0].day, ALL[-1].day) == ("19970101", "19980630")
    customers: set[int] = set()
    for line in ALL:
        assert line.first == (line.customer not in customers)
        assert line.request()["coupon_id"] == (line.customer if line.first else None)
        customers.add(line.customer)


def test_the_shop_takes_every_one_of_them() -> None:
    """With stock and balance enough, price, shipping fee, amounts and coupon pass every rule."""
    seeded = seeds(ALL)
    assert (seeded.users, seeded.coupons, seeded.stock) == (23_570, 23_570, 167_881)
    for purchase in (*ALL[:500], *(row for row in ALL if not row.cents or row.pieces > 40)):
        request = m.PlaceOrder(**purchase.request())
        coupon = CouponFound(
            coupon_id=purchase.customer, coupon_price=2000, user_id=purchase.customer, is_used=False
        )
        checked = pricing.check(
            m.ConfirmOrder(order_id=1, request=request),
            GoodsFound(
                goods_id=1,
                goods_name="",
                goods_price=request.goods_price,
                goods_number=seeded.stock or 0,
            ),
            UserFound(user_id=purchase.customer, user_name="", user_money=2000_00),
            coupon if purchase.first else None,
        )
        assert checked.success, checked
