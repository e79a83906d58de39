"""A shop in one process: the real flow over the real steps of all databases.

Between them stands only what a network and a crash can do: a call that never arrives, an answer
that is lost, a call that arrives after everything else, a flow that dies or hangs at any call, or
another instance that runs the same flow meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.steps import Event, Step
from labkit.settings import Settings
from labkit.shop import messages as m
from labkit.shop.order import flows
from labkit.shop.tables import TABLES
from labkit.shop.wiring import NAMES, SERVICES
from tests.support.shopping import asked, opened
from tests.support.store import OpenStore, Store

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


@dataclass
class World:
    """All databases, the faults to come, and what still travels."""

    open_store: OpenStore
    faults: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    late: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = {name: self.open_store(name) for name in TABLES}
        for attribute, contract in SERVICES["order"].calls.items():
            setattr(self, attribute, _Remote(self, NAMES[contract]))

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        """A step of the order service itself."""
        return self.stores["order"].run(step, command)

    def place(self, key: str = "key", **changed: Any) -> Result[Any] | None:
        """Place an order; None where the order service died over it."""
        opening = opened(self.stores["order"], key).data
        if opening.answer:
            return Result[Any].model_validate_json(opening.answer)
        return self.flow(opening.order_id, **changed)

    def flow(self, order_id: int, **changed: Any) -> Result[Any] | None:
        """The flow alone, as an instance of the order service runs it."""
        self.command = m.ConfirmOrder(order_id=order_id, request=asked(**changed))
        try:
            return asyncio.run(flows.confirm_order(self, self.command))
        except Died:
            return None

    def sweep(self) -> None:
        """Let the deadline of unconfirmed orders pass, and the sweeper look."""
        self.stores["order"].wait(self.settings.unconfirmed_deadline + 1)
        asyncio.run(flows.sweep_unconfirmed(self, None))

    def deliver(self) -> None:
        """Deliver every event ever told to every group that must have it, through its inbox."""
        for event_id, event in self.stores["order"].events:
            deliver(event_id, event, self._run_at)

    def _run_at(self, service: str, step: Step[Any, Any], command: Any) -> Any:
        return self.stores[service].run(step, command)

    def arrive(self) -> None:
        """Let the late calls arrive."""
        while self.late:
            self.late.pop()()

    def left(self) -> tuple[int, int, int]:
        """Stock, used coupons, balance."""
        return (
            self.stores["goods"].row("trade_goods")["goods_number"],
            len(self.stores["coupon"].rows("trade_coupon", is_used=1)),
            self.stores["user"].row("trade_user", user_id=1)["user_money"],
        )

    def status(self) -> int | None:
        """The order's status; None where no order was saved."""
        rows = self.stores["order"].rows("trade_order")
        return rows[0]["order_status"] if rows else None


def deliver(event_id: int, event: Event, run: Callable[[str, Step[Any, Any], Any], Any]) -> None:
    """Deliver an event to every group that must have it.

    Args:
        event_id: of the event.
        event: what was told.
        run: runs a step of a service.
    """
    for service in SERVICES.values():
        handler = service.handlers.get(type(event))
        if handler:
            delivery = Delivery(
                group=service.name,
                event_id=event_id,
                topic=event.topic,
                tag=event.tag,
                key=str(event.order_id),
                body=event.model_dump_json(),
            )
            run(service.name, inbox.guarded(handler, type(event)), delivery)


class _Remote:
    """Another service as its caller sees it."""

    def __init__(self, world: World, service: str) -> None:
        self._world, self._service = world, service

    def __getattr__(self, name: str) -> Any:
        world, step = self._world, SERVICES[self._service].methods[name]
        store: Store = world.stores[self._service]

        async def call(command: Any) -> Any:
            fault, when = world.faults.pop(name, "none"), "before"
            if fault == "arrives late":
                world.late.append(lambda: store.run(step, command))
            if fault == "another is faster":  # another instance, asked under the same key
                await flows.confirm_order(world, world.command)
            if fault in ("never arrives", "arrives late", "another is faster"):
                raise Unknown("no answer came")
            await _befall(world, fault, when)
            answer = store.run(step, command)
            if fault == "answer lost":
                raise Unknown("no answer came")
            await _befall(world, fault, "after")
            return answer

        return call


async def _befall(world: World, fault: str, when: str) -> None:
    if fault == f"dies {when}":
        raise Died
    if fault == f"hangs {when}":
        await asyncio.to_thread(world.sweep)
