"""What each service offers the others, and what a flow is handed."""

from typing import Any, Protocol, TypeVar

from labkit.results import Result
from labkit.runtime.steps import Step
from labkit.settings import Settings
from labkit.shop import messages as m

A = TypeVar("A")


class OrderService(Protocol):
    """订单服务: called by the order web."""

    async def open_order(self, command: m.OpenOrder) -> Result[m.Opening]:
        """The order id of an idempotency key."""
        ...

    async def confirm_order(self, command: m.ConfirmOrder) -> Result[m.OrderPlaced]:
        """Place an order (下单)."""
        ...

    async def find_order(self, query: m.MoveOrder) -> Result[m.OrderFound | m.OrderPlaced]:
        """Look an order up; an undecided one has but its id."""
        ...

    async def cancel_by_user(self, command: m.UserOrder) -> Result[m.OrderPlaced]:
        """Cancel an unpaid order."""
        ...

    async def return_order(self, command: m.UserOrder) -> Result[m.OrderPlaced]:
        """Return a paid order in full."""
        ...


class GoodsService(Protocol):
    """商品服务."""

    async def find_goods(self, query: m.FindGoods) -> Result[m.GoodsFound]:
        """Look goods up."""
        ...

    async def deduct_stock(self, command: m.DeductStock) -> Result[None]:
        """Take pieces out of the stock (减库存)."""
        ...


class CouponService(Protocol):
    """优惠券服务."""

    async def find_coupon(self, query: m.FindCoupon) -> Result[m.CouponFound]:
        """Look a coupon up."""
        ...

    async def use_coupon(self, command: m.UseCoupon) -> Result[None]:
        """Use a coupon (使用优惠券)."""
        ...


class UserService(Protocol):
    """用户服务."""

    async def find_user(self, query: m.FindUser) -> Result[m.UserFound]:
        """Look a user up."""
        ...

    async def deduct_balance(self, command: m.DeductBalance) -> Result[None]:
        """Take money from the balance (扣减余额)."""
        ...


class Shop(Protocol):
    """What a flow of any service is handed: its own database, and the other services."""

    settings: Settings
    goods: GoodsService
    coupons: CouponService
    users: UserService

    async def run(self, step: Step[Any, A], command: Any) -> A:
        """Run a step on this service's own database."""
        ...
