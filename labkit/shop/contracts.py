"""What each service offers the others, and what a flow is handed."""

from typing import Any, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from labkit.results import Result
from labkit.runtime import Step
from labkit.settings import Settings
from labkit.shop import messages as m
from labkit.shop import pay_messages as p

A = TypeVar("A")


class OrderService(Protocol):
    """订单服务: called by the order web."""

    async def open_order(self, command: m.OpenOrder) -> Result[m.Opening]:
        """The order id of an idempotency key."""
        ...

    async def confirm_order(self, command: m.ConfirmOrder) -> Result[m.OrderPlaced]:
        """Place an order (下单)."""
        ...

    async def find_order(self, query: m.FindOrder) -> Result[m.OrderFound | m.OrderPlaced]:
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


class PayService(Protocol):
    """支付服务: called by the pay web, and by who reconciles."""

    async def create_payment(self, command: p.CreatePayment) -> Result[p.PaymentOpened]:
        """Open the payment of an order; asked again, the same."""
        ...

    async def take_callback(self, command: p.Callback) -> Result[Any]:
        """Believe a callback of the platform, if everything about it is right."""
        ...

    async def find_payment(self, query: p.FindPayment) -> Result[p.PaymentFound]:
        """Look a payment up."""
        ...

    async def look_after_payment(self, command: p.FindPayment) -> Result[None]:
        """Ask the platform about a payment, and send its refund, now."""
        ...


class LogService(Protocol):
    """日志服务."""

    async def find_pay_log(self, query: p.FindPayLog) -> Result[p.PayLogFound]:
        """Look up what came and went for an order."""
        ...


class PaymentPlatform(Protocol):
    """第三方支付平台: not ours, and reached over HTTP with signed requests."""

    async def create_trade(self, command: p.CreateTrade) -> Result[p.TradeFound]:
        """Open a trade; asked again with the same amount, the same trade."""
        ...

    async def query_trade(self, query: p.AskTrade) -> Result[p.TradeFound]:
        """Ask what became of a trade."""
        ...

    async def close_trade(self, command: p.AskTrade) -> Result[p.TradeFound]:
        """Close a trade that is not paid; the answer says what holds."""
        ...

    async def refund_trade(self, command: p.RefundTrade) -> Result[p.TradeRefunded]:
        """Give money back, once for each refund id."""
        ...


class Shop(Protocol):
    """What a flow of any service is handed: its own database, and the other services.

    Attributes:
        platform_key: the payment platform's public key, which callbacks must be signed with.
    """

    settings: Settings
    orders: OrderService
    platform: PaymentPlatform
    platform_key: RSAPublicKey
    goods: GoodsService
    coupons: CouponService
    users: UserService

    async def run(self, step: Step[Any, A], command: Any) -> A:
        """Run a step on this service's own database."""
        ...
