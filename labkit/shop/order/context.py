"""The context of the order service's flows."""

from dataclasses import dataclass

from labkit.runtime import RunStep
from labkit.settings import Settings
from labkit.shop.contracts import CouponService, GoodsService, UserService


@dataclass(frozen=True)
class OrderShop:
    """The shop as the order service's flows see it.

    Attributes:
        run: runs a step on the order database and commits it.
        settings: of the lab.
        goods: the goods service.
        coupons: the coupon service.
        users: the user service.
    """

    run: RunStep
    settings: Settings
    goods: GoodsService
    coupons: CouponService
    users: UserService
