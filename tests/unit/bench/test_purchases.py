"""The purchases that are replayed: all, in their order, as orders that the shop can take."""

from bench.purchases import purchases, seeds
from labkit.shop import messages as m
from labkit.shop.messages import CouponFound, GoodsFound, UserFound
from labkit.shop.order import pricing

ALL = list(purchases())


def test_nothing_of_the_file_is_left_out() -> None:
    """69,659 purchases of 23,570 people, as its README says, each under a mark of its own."""
    assert len(ALL) == len({one.mark for one in ALL}) == 69_659
    assert {one.customer for one in ALL} == set(range(1, 23_570 + 1))
    assert sum(one.pieces for one in ALL) == 167_881
    assert sum(one.cents == 0 for one in ALL) == 80
    assert max(one.cents for one in ALL) == 1286_01


def test_they_come_in_their_order() -> None:
    """By day, numbered from 1; a customer's coupon goes with the first purchase and no other."""
    assert [one.number for one in ALL] == list(range(1, len(ALL) + 1))
    assert [one.day for one in ALL] == sorted(one.day for one in ALL)
    assert (ALL[0].day, ALL[-1].day) == ("19970101", "19980630")
    seen: set[int] = set()
    for one in ALL:
        assert one.first == (one.customer not in seen)
        assert one.request()["coupon_id"] == (one.customer if one.first else None)
        seen.add(one.customer)


def test_the_shop_takes_every_one_of_them() -> None:
    """With stock and balance enough, price, shipping fee, amounts and coupon pass every rule."""
    seeded = seeds(ALL)
    assert (seeded.users, seeded.coupons, seeded.stock) == (23_570, 23_570, 167_881)
    for one in (*ALL[:500], *(one for one in ALL if not one.cents or one.pieces > 40)):
        request = m.PlaceOrder(**one.request())
        coupon = CouponFound(
            coupon_id=one.customer, coupon_price=2000, user_id=one.customer, is_used=False
        )
        checked = pricing.check(
            m.ConfirmOrder(order_id=1, request=request),
            GoodsFound(
                goods_id=1,
                goods_name="",
                goods_price=request.goods_price,
                goods_number=seeded.stock or 0,
            ),
            UserFound(user_id=one.customer, user_name="", user_money=2000_00),
            coupon if one.first else None,
        )
        assert checked.success, checked
