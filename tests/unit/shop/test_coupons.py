"""Coupons: one order uses a coupon, once, and it alone gives it back to its owner."""

import pytest

from labkit.shop import coupons
from labkit.shop.codes import Code
from labkit.shop.messages import FindCoupon, OrderCancelled, UseCoupon
from tests.support.store import COUPON, NOON, OpenStore, Store

ORDER = 1001


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """Coupon 1 of user 1 and coupon 2 of user 2."""
    return open_store("coupon")


def use(
    order_id: int = ORDER, coupon_id: int = 1, user_id: int = 1, price: int = COUPON
) -> UseCoupon:
    return UseCoupon(order_id=order_id, coupon_id=coupon_id, user_id=user_id, coupon_price=price)


def test_a_coupon_is_found_as_it_is(store: Store) -> None:
    """A query gives price, owner and use as they are now, and an unknown coupon is refused."""
    coupon = store.run(coupons.find_coupon, FindCoupon(coupon_id=1)).data
    assert (coupon.coupon_price, coupon.user_id, coupon.is_used) == (COUPON, 1, False)
    store.run(coupons.use_coupon, use())
    assert store.run(coupons.find_coupon, FindCoupon(coupon_id=1)).data.is_used
    assert store.run(coupons.find_coupon, FindCoupon(coupon_id=9)).code == Code.COUPON_MISSING


def test_an_order_uses_a_coupon(store: Store) -> None:
    """A used coupon bears its order and the time, and the operation its price."""
    assert store.run(coupons.use_coupon, use()).success
    used = store.row("trade_coupon", coupon_id=1)
    assert (used["is_used"], used["order_id"], used["used_time"]) == (1, ORDER, NOON)
    assert store.outcome("use_coupon", ORDER) == ("applied", COUPON)
    assert logged(store, 1) == ["opening", "use"]


def logged(store: Store, coupon_id: int) -> list[str]:
    """Return what the log says of a coupon, in the order of the alphabet."""
    rows = store.rows("trade_coupon_log", coupon_id=coupon_id)
    assert {(row["user_id"], row["coupon_price"]) for row in rows} == {(coupon_id, COUPON)}
    return sorted(row["direction"] for row in rows)


@pytest.mark.parametrize(
    "command",
    [use(user_id=2), use(coupon_id=9), use(price=COUPON + 1)],
    ids=["of another user", "unknown", "at another price"],
)
def test_a_coupon_that_is_not_the_users_is_refused(store: Store, command: UseCoupon) -> None:
    """A coupon of somebody else, of another price or of nobody is not used by anybody."""
    before = store.business()
    assert not store.run(coupons.use_coupon, command).success
    assert store.business() == before
    assert store.outcome("use_coupon", ORDER) == ("refused", 0)


def test_a_coupon_is_used_by_one_order_alone(store: Store) -> None:
    """The second order that wants the coupon is refused, and the first keeps it."""
    store.run(coupons.use_coupon, use())
    second = store.run(coupons.use_coupon, use(order_id=1002))
    assert second.code == Code.COUPON_ALREADY_USED
    assert store.row("trade_coupon", coupon_id=1)["order_id"] == ORDER


def test_a_coupon_comes_back_to_its_owner(store: Store) -> None:
    """Given back, a coupon is as it was, its owner included, and can be used again."""
    untouched = store.rows("trade_coupon")
    store.run(coupons.use_coupon, use())

    store.run(coupons.return_coupon, OrderCancelled(order_id=ORDER))

    assert store.rows("trade_coupon") == untouched
    assert store.outcome("use_coupon", ORDER) == ("undone", COUPON)
    assert logged(store, 1) == ["opening", "return", "use"]
    assert store.run(coupons.use_coupon, use(order_id=1002)).success


def test_the_loser_gives_nothing_back(store: Store) -> None:
    """An order that was refused the coupon is cancelled: the coupon stays with the winner."""
    store.run(coupons.use_coupon, use())
    store.run(coupons.use_coupon, use(order_id=1002))
    held = store.rows("trade_coupon")

    store.run(coupons.return_coupon, OrderCancelled(order_id=1002))

    assert store.rows("trade_coupon") == held


def test_the_first_order_does_not_take_it_from_the_next(store: Store) -> None:
    """A compensation that comes again leaves the coupon to the order that uses it by now."""
    store.run(coupons.use_coupon, use())
    store.run(coupons.return_coupon, OrderCancelled(order_id=ORDER))
    store.run(coupons.use_coupon, use(order_id=1002))
    before = store.everything()

    store.run(coupons.return_coupon, OrderCancelled(order_id=ORDER))

    assert store.everything() == before
