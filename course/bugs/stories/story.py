"""The collection of stories, and what several of them share."""

from collections.abc import Callable

from labkit.faults import points
from labkit.matrix.context import ScenarioContext
from labkit.matrix.scenario import IS_ABSENT, IS_CANCELLED, IS_PLACED, Scenario, Script

#: Every story by its name.
STORIES: dict[str, Scenario] = {}
IS_DECIDED = IS_PLACED | IS_CANCELLED | IS_ABSENT


def story(name: str, summary: str) -> Callable[[Callable[[ScenarioContext], Script]], Scenario]:
    """Enter a story; see `labkit.matrix.scenario`."""

    def enter(tell: Callable[[ScenarioContext], Script]) -> Scenario:
        STORIES[name] = Scenario(name, summary, tell)
        return STORIES[name]

    return enter


def hits(context: ScenarioContext, failpoint: str) -> int:
    """Return how often a failpoint was crossed."""
    listed = points.list_all(context.lab.home)
    return next(int(point["hits"]) for point in listed if point["name"] == failpoint)
