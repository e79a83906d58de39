"""The front of the shop: what customers ask of it, in the simulation or of a real lab."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from labkit.ops.history import RequestKind
from labkit.shop import messages as m

#: What a customer may do before a request: wait for so many seconds.
PAUSES = ("delay:0.004", "delay:0.02", "delay:0.3", "delay:1.5")


@dataclass(frozen=True)
class Answer:
    """An answer to a request.

    Attributes:
        status: of the HTTP answer; 0 where there was none.
        data: in the answer.
    """

    status: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Return True if what was asked for is done."""
        return self.status == 200


class ShopFront(Protocol):
    """The webs of a shop, and the cashier; each request is sent once."""

    async def place(self, key: str, order: m.PlaceOrder) -> Answer:
        """Place an order, under an idempotency key."""
        ...

    async def find(self, order_id: int) -> Answer:
        """Look an order up."""
        ...

    async def cancel(self, order_id: int, user_id: int) -> Answer:
        """Cancel an order."""
        ...

    async def return_order(self, order_id: int, user_id: int) -> Answer:
        """Return an order."""
        ...

    async def open_payment(self, order_id: int) -> Answer:
        """Open the payment of an order."""
        ...

    async def press(self, cashier_url: str, button: RequestKind) -> Answer:
        """Press a button of the cashier page."""
        ...


Send = Callable[[], Awaitable[Answer]]
