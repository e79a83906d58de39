"""The context of the pay service's flows."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from labkit.runtime import RunStep
from labkit.settings import Settings
from labkit.shop.contracts import GoodsService, PaymentPlatform
from labkit.shop.order.contract import OrderService


@dataclass(frozen=True)
class PayShop:
    """The shop as the pay service's flows see it.

    Attributes:
        run: runs a step on the pay database and commits it.
        settings: of the lab.
        orders: the order service.
        goods: the goods service.
        platform: the payment platform.
        platform_key: the platform's public key, with which callbacks must be signed.
    """

    run: RunStep
    settings: Settings
    orders: OrderService
    goods: GoodsService
    platform: PaymentPlatform
    platform_key: RSAPublicKey
