"""A plan: everything that tells one life from another, as a token that can be copied."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labkit.sim.deviations import TURNS, Aimed, Chooser, Deviation, Drawn, draw_targets
from labkit.sim.points import turns_of_world
from labkit.sim.stories import check_names

_VERSION = "sim1"
#: How much may happen in a life that is drawn: the chance at each crossing, and how often at most.
_RATES, _LIMITS = (0.005, 0.02, 0.05, 0.1), (2, 4, 7, 10)
_CUSTOMERS, _INSTANCES = (1, 1, 2, 3), (1, 1, 2)
#: The shares of lives in which it is drawn before what happens where, and who is paused when.
_AIMED, _PREEMPTED = 0.6, 0.2
#: How often something happens to a process at a turn of its own, and what else happens then.
_PREEMPTIONS, _WITH_THEM = (1, 1, 2, 3), (0, 0, 1, 2)


#: Story → point → what can happen there.
PointsByStory = Mapping[str, Mapping[str, Sequence[str]]]


class BadToken(ValueError):
    """A token that tells of no life; the message says why."""


@dataclass(frozen=True)
class Plan:
    """A plan of a life.

    Attributes:
        stories: names of stories, each of a customer of its own.
        instances: how many processes each service has.
        seed: of what is random in the product, as the jitter of its retries.
        deviations: what happens that does not in a calm life.
    """

    stories: tuple[str, ...]
    instances: int = 1
    seed: int = 0
    deviations: tuple[Deviation, ...] = ()

    @property
    def token(self) -> str:
        """Return it as a text without spaces, which `labkit sim --replay` takes."""
        happens = ";".join(map(str, self.deviations))
        return f"{_VERSION}/{','.join(self.stories)}/{self.instances}/{self.seed}/{happens}"

    @property
    def size(self) -> int:
        """Return how many things tell it from a calm life of one customer."""
        return len(self.deviations) + len(self.stories) + self.instances - 2

    def calm(self) -> "Plan":
        """Return it without deviations."""
        return replace(self, deviations=())


def read_token(token: str) -> Plan:
    """Read a token.

    Raises:
        BadToken: it tells of no life.
    """
    parts = token.strip().split("/", 4)
    if len(parts) != 5 or parts[0] != _VERSION:
        raise BadToken(f"{token[:80]!r} is no token: it begins with {_VERSION}/ and has five parts")
    _, stories, instances, seed, happens = parts
    if not (instances.isdecimal() and int(instances) > 0 and seed.isdecimal()):
        raise BadToken(f"{instances}/{seed}: a number of instances and a seed must stand there")
    try:
        names = check_names(stories.split(","))
        deviations = tuple(Deviation.parse(text) for text in happens.split(";") if text)
    except ValueError as error:
        raise BadToken(str(error)) from error
    return Plan(names, int(instances), int(seed), deviations)


def draw_plan(seed: int, stories: Sequence[str], points: PointsByStory) -> tuple[Plan, Chooser]:
    """Draw a life without its deviations, and what chooses them.

    Args:
        seed: gives the same life each time.
        stories: names of the stories to draw from.
        points: story → the points of its calm life; under no name, every point.
    """
    draw = random.Random(seed)
    names = tuple(draw.choices(list(stories), k=draw.choice(_CUSTOMERS)))
    plan = Plan(names, draw.choice(_INSTANCES), seed)
    limit = draw.choice(_LIMITS)
    strategy = draw.random()
    aim = points[draw.choice(("", *names, *names))]  # also at what only trouble leads to
    if strategy < _AIMED:
        return plan, Aimed(draw, draw_targets(draw, aim, limit))
    if strategy < _AIMED + _PREEMPTED:
        turns = turns_of_world(plan.instances)
        targets = draw_targets(draw, turns, draw.choice(_PREEMPTIONS), TURNS)
        return plan, Aimed(draw, targets + draw_targets(draw, aim, draw.choice(_WITH_THEM)))
    return plan, Drawn(draw, draw.choice(_RATES), limit)
