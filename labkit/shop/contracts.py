"""The calls that services without flows answer, and those that the payment platform answers.

The order service's calls are in `order/contract.py`, the pay service's in `pay/contract.py`: behind
those stand flows, which call the services here.
"""

from typing import Protocol

from labkit.results import Result
from labkit.runtime import ServedBy
from labkit.shop import coupons, goods, log, users
from labkit.shop.pay import messages as p


class GoodsService:
    """商品服务."""

    find_goods = ServedBy(goods.find_goods)
    deduct_stock = ServedBy(goods.deduct_stock)


class CouponService:
    """优惠券服务."""

    find_coupon = ServedBy(coupons.find_coupon)
    use_coupon = ServedBy(coupons.use_coupon)


class UserService:
    """用户服务."""

    find_user = ServedBy(users.find_user)
    deduct_balance = ServedBy(users.deduct_balance)


class LogService:
    """日志服务."""

    find_pay_log = ServedBy(log.find_pay_log)


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
        """Refund money, once for each refund id."""
        ...
