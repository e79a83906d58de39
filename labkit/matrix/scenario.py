"""What a scenario is: one story, driven to its end over public interfaces whatever fails in it."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from labkit.matrix.customer import Placed
from labkit.matrix.stage import ScenarioContext
from labkit.shop.tables import CANCELLED, CONFIRMED, PAID, RETURNED, UNPAID
from labkit.stack.boundaries import HELPER, SUPERVISOR

#: How an order may stand in the end: its order_status and pay_status; None: there is none.
States: TypeAlias = frozenset[tuple[int, int] | None]
#: What is expected of the orders of a story, once all has settled.
JobResults: TypeAlias = Mapping[Placed, States]
Script: TypeAlias = Generator[None, None, JobResults]

IS_PLACED: States = frozenset({(CONFIRMED, UNPAID)})
IS_PAID: States = frozenset({(CONFIRMED, PAID)})
IS_CANCELLED: States = frozenset({(CANCELLED, UNPAID)})
IS_RETURNED: States = frozenset({(RETURNED, PAID)})
IS_ABSENT: States = frozenset({None})

#: What starts the services and watches over them: stories of its own are about it.
OF_THE_LAB = (SUPERVISOR, HELPER)
#: Every scenario by its name, in the order in which they are told.
SCENARIOS: dict[str, "Scenario"] = {}


@dataclass(frozen=True)
class Scenario:
    """One story.

    Attributes:
        name: what the command line calls it.
        says: what it does and how it ends, in a sentence.
        about: the processes whose failpoints its column holds; empty: all services.
        story: a generator. What comes before its `yield` makes ready, and no fault is on; what
            comes after is the story; it returns how its orders must stand once all has settled.
    """

    name: str
    says: str
    story: Callable[[ScenarioContext], Script]
    about: tuple[str, ...] = ()

    def concerns(self, failpoint: str) -> bool:
        """Return True if a failpoint belongs into its column when it reaches it."""
        process = failpoint.partition(".")[0]
        return process in self.about if self.about else process not in OF_THE_LAB


def scenario(
    name: str, says: str, about: tuple[str, ...] = ()
) -> Callable[[Callable[[ScenarioContext], Script]], Scenario]:
    """Enter a story in the list of scenarios.

    Args:
        name: what the command line calls it.
        says: what it does and how it ends, in a sentence.
        about: the processes whose failpoints its column holds; empty: all services.
    """

    def enter(story: Callable[[ScenarioContext], Script]) -> Scenario:
        SCENARIOS[name] = Scenario(name, says, story, about)
        return SCENARIOS[name]

    return enter
