"""A shop in one process: the real flow over the real steps of all databases.

Between them stands only what a network and a crash can do: a call that never arrives, an answer
that is lost, a call that arrives after everything else, a flow that dies or hangs at any call, or
another instance that runs the same flow meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.settings import Settings
from labkit.shop import messages as m
from labkit.shop.order import flows
from labkit.shop.tables import TABLES
from labkit.shop.wiring import SERVICES
from tests.support.inprocess import InProcessShop
from tests.support.shopping import asked, opened
from tests.support.store import OpenStore

FAULTS = (
    "none",
    "never arrives",
    "answer lost",
    "arrives late",
    "dies before",
    "dies after",
    "hangs before",
    "hangs after",
    "another is faster",
)
CALLS = ("find_goods", "deduct_stock", "use_coupon", "deduct_balance")


class Died(Exception):
    """The order service was killed: nobody is left to be answered."""


class World(InProcessShop):
    """All databases, the faults to come, and what still travels.

    Args:
        open_store: makes databases.
        faults: method of a service → what happens to the next call of it.

    Attributes:
        late: calls that arrive after everything else.
    """

    def __init__(self, open_store: OpenStore, faults: Mapping[str, str] | None = None) -> None:
        super().__init__({name: open_store(name) for name in TABLES}, Settings())
        self.faults = dict(faults or {})
        self.late: list[Callable[[], Any]] = []
        self._orders = self.services["order"]

    async def call(self, service: str, method: str, command: Any) -> Any:
        """Answer a call, unless a fault comes between."""
        fault = self.faults.pop(method, "none")
        step = SERVICES[service].methods[method]
        if fault == "arrives late":
            self.late.append(lambda: self.run(service, step, command))
        if fault == "another is faster":  # another instance, asked under the same key
            await flows.confirm_order(self._orders, self._command)
        if fault in ("never arrives", "arrives late", "another is faster"):
            raise Unknown("no answer came")
        await self._befall(fault, "before")
        answer = await super().call(service, method, command)
        if fault == "answer lost":
            raise Unknown("no answer came")
        await self._befall(fault, "after")
        return answer

    async def _befall(self, fault: str, when: str) -> None:
        if fault == f"dies {when}":
            raise Died
        if fault == f"hangs {when}":
            await asyncio.to_thread(self.sweep)

    def place(self, key: str = "key", **changed: Any) -> Result[Any] | None:
        """Place an order; None where the order service died over it."""
        opening = opened(self.stores["order"], key).data
        if opening.answer:
            return Result[Any].model_validate_json(opening.answer)
        return self.flow(opening.order_id, **changed)

    def flow(self, order_id: int, **changed: Any) -> Result[m.OrderPlaced] | None:
        """Run the flow alone, as an instance of the order service does."""
        self._command = m.ConfirmOrder(order_id=order_id, request=asked(**changed))
        try:
            return asyncio.run(flows.confirm_order(self._orders, self._command))
        except Died:
            return None

    def sweep(self) -> None:
        """Let the deadline of unconfirmed orders pass, and the sweeper look."""
        self.stores["order"].wait(self.settings.unconfirmed_deadline + 1)
        asyncio.run(flows.sweep_unconfirmed(self._orders, None))

    def deliver(self) -> None:
        """Deliver every event ever told to every group that must have it."""
        for event_id, event in self.stores["order"].events:
            self.deliver_event(event_id, event)

    def arrive(self) -> None:
        """Let the late calls arrive."""
        while self.late:
            self.late.pop()()

    def left(self) -> tuple[int, int, int]:
        """Return stock, used coupons, balance."""
        return (
            self.stores["goods"].row("trade_goods")["goods_number"],
            len(self.stores["coupon"].rows("trade_coupon", is_used=1)),
            self.stores["user"].row("trade_user", user_id=1)["user_money"],
        )

    def status(self) -> int | None:
        """Return the order's status; None where no order was saved."""
        rows = self.stores["order"].rows("trade_order")
        return rows[0]["order_status"] if rows else None
