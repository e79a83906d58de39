"""The shop's services in one process: real flows, steps and handlers on databases in memory.

Calls and messages go nowhere but to another method here. A test's shop overrides `call` or `run`
to put between the services what a network or a crash can do.
"""

from collections.abc import Mapping
from typing import Any

from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.inbox import Delivery
from labkit.runtime.steps import Event, Flow, Step
from labkit.settings import Settings
from labkit.shop.wiring import NAMES, SERVICES
from tests.support.store import Store


class InProcessShop:
    """All services of the shop, and the way between them.

    Args:
        stores: service → its database.
        settings: of all services.

    Attributes:
        services: service → the service as its flows see it.
    """

    def __init__(self, stores: Mapping[str, Store], settings: Settings) -> None:
        self.stores, self.settings = stores, settings
        self.services = {name: _Service(self, name) for name in SERVICES}

    def run(self, service: str, step: Step[Any, Any], command: Any) -> Any:
        """Run a step of a service."""
        return self.stores[service].run(step, command)

    async def call(self, service: str, method: str, command: Any) -> Any:
        """Answer a call of another service."""
        function = SERVICES[service].methods[method]
        if isinstance(function, Flow):
            return await function(self.services[service], command)
        return self.run(service, function, command)

    def deliver_event(self, event_id: int, event: Event) -> None:
        """Deliver an event to every group that must have it, through its inbox."""
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
                self.run(service.name, inbox.guarded(handler, type(event)), delivery)


class _Service:
    """A service as its flows see it."""

    def __init__(self, shop: InProcessShop, name: str) -> None:
        self._shop, self._name, self.settings = shop, name, shop.settings
        for attribute, contract in SERVICES[name].calls.items():
            if contract in NAMES:  # the platform's is a test's own
                setattr(self, attribute, _Peer(shop, NAMES[contract]))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._name} has no {name}")

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        return self._shop.run(self._name, step, command)


class _Peer:
    """A service as another one calls it."""

    def __init__(self, shop: InProcessShop, service: str) -> None:
        self._shop, self._service = shop, service

    def __getattr__(self, method: str) -> Any:
        return lambda command: self._shop.call(self._service, method, command)
