"""The shops of two releases in one process: the wiring of each, with classes of its own."""

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from sqlalchemy import Table

import labkit
from labkit.runtime.wiring import Service
from labkit.shop import tables, wiring
from labkit.shop.order.contract import OrderService
from labkit.shop.pay.contract import PayService
from labkit.stack.releases.beside import earlier
from labkit.stack.releases.order import deploy_order
from labkit.stack.releases.release import Release

_SHOP = "labkit.shop"


@dataclass(frozen=True)
class Shop:
    """The shop of one release.

    Attributes:
        services: name → its line of the wiring table.
        groups: topic → consumer groups.
        senders: topic → the services that send to it.
        names: contract → name of the service that offers it.
        order_service: what the order web calls.
        pay_service: what the pay web calls.
        tables: service → the tables of its database.
    """

    services: Mapping[str, Service]
    groups: Mapping[str, tuple[str, ...]]
    senders: Mapping[str, tuple[str, ...]]
    names: Mapping[type, str]
    order_service: type
    pay_service: type
    tables: Mapping[str, tuple[Table, ...]]


OURS = Shop(
    wiring.SERVICES,
    wiring.GROUPS,
    wiring.SENDERS,
    wiring.NAMES,
    OrderService,
    PayService,
    tables.TABLES,
)


@cache
def earlier_shop() -> Shop | None:
    """Import the shop of the earlier release that is to run beside ours; None without one."""
    release = earlier()
    return _load(release) if release else None


def _load(release: Release) -> Shop:
    with _found_first(release):
        wired = import_module(f"{_SHOP}.wiring")
        return Shop(
            wired.SERVICES,
            wired.GROUPS,
            wired.SENDERS,
            wired.NAMES,
            import_module(f"{_SHOP}.order.contract").OrderService,
            import_module(f"{_SHOP}.pay.contract").PayService,
            import_module(f"{_SHOP}.tables").TABLES,
        )


@contextmanager
def _found_first(release: Release) -> Iterator[None]:
    """Have Python find a release's shop instead of ours, for a block; all else stays ours."""
    ours = {name: module for name, module in sys.modules.items() if _is_of_shop(name)}
    for name in ours:
        del sys.modules[name]
    labkit.__path__.insert(0, str(release.package))
    try:
        yield
    finally:
        labkit.__path__.pop(0)
        for name in [name for name in sys.modules if _is_of_shop(name)]:
            del sys.modules[name]
        sys.modules.update(ours)
        labkit.shop = ours[_SHOP]  # the import had set it


def _is_of_shop(name: str) -> bool:
    return name == _SHOP or name.startswith(f"{_SHOP}.")


class Mix:
    """Which release each process of one life runs: a deployment that has come so far.

    In the order of a deployment, the first services run ours, the last ones the earlier release,
    and one between them is being replaced: each of its processes runs either.

    Args:
        seed: of the life.
    """

    def __init__(self, seed: int) -> None:
        order = deploy_order()
        self._draw = random.Random(f"releases of {seed}")
        self._replaced = self._draw.randrange(len(order) + 1)
        self._places = {name: place for place, name in enumerate(order)}

    def shop_of(self, service: str) -> Shop:
        """Return the shop of a process that starts."""
        old = earlier_shop()
        if old is None or service not in self._places:
            return OURS
        place = self._places[service]
        if place == self._replaced:
            return self._draw.choice((OURS, old))
        return OURS if place < self._replaced else old

    def is_ours(self, *services: str) -> bool:
        """Return True if every process of these services runs our release."""
        return earlier_shop() is None or all(
            self._places[name] < self._replaced for name in services
        )
