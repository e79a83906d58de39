"""Scenarios of the matrix: scripts that end well over public interfaces whatever fails in them."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed
from labkit.shop.states import OrderStatus, PayStatus
from labkit.stack.boundaries import HELPER, SUPERVISOR

#: Allowed end states of an order: order_status and pay_status; None: there is no order.
States: TypeAlias = frozenset[tuple[int, int] | None]
#: The allowed end states of each order of a scenario, once the lab has settled.
ExpectedStates: TypeAlias = Mapping[Placed, States]
Script: TypeAlias = Generator[None, None, ExpectedStates]

IS_PLACED: States = frozenset({(OrderStatus.CONFIRMED, PayStatus.UNPAID)})
IS_PAID: States = frozenset({(OrderStatus.CONFIRMED, PayStatus.PAID)})
IS_CANCELLED: States = frozenset({(OrderStatus.CANCELLED, PayStatus.UNPAID)})
IS_RETURNED: States = frozenset({(OrderStatus.RETURNED, PayStatus.PAID)})
IS_ABSENT: States = frozenset({None})

#: Processes that start and watch the services; they have scenarios of their own.
LAB_PROCESSES = (SUPERVISOR, HELPER)
#: All scenarios by name, in the order in which they are listed.
SCENARIOS: dict[str, "Scenario"] = {}


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        name: as the command line has it.
        summary: what happens and how it ends, in a sentence.
        script: a generator. Up to its `yield` it prepares, with no fault armed; after it, it acts;
            it returns the states that its orders may be in once the lab has settled.
        processes: those whose failpoints its column holds; empty: all services.
    """

    name: str
    summary: str
    script: Callable[[ScenarioContext], Script]
    processes: tuple[str, ...] = ()

    def covers(self, failpoint: str) -> bool:
        """Return True if a failpoint that the scenario reaches belongs in its column."""
        process = failpoint.partition(".")[0]
        return process in self.processes if self.processes else process not in LAB_PROCESSES


def scenario(
    name: str, summary: str, processes: tuple[str, ...] = ()
) -> Callable[[Callable[[ScenarioContext], Script]], Scenario]:
    """Register a script as a scenario.

    Args:
        name: as the command line has it.
        summary: what happens and how it ends, in a sentence.
        processes: those whose failpoints its column holds; empty: all services.
    """

    def register(script: Callable[[ScenarioContext], Script]) -> Scenario:
        SCENARIOS[name] = Scenario(name, summary, script, processes)
        return SCENARIOS[name]

    return register
