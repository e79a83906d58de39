"""The report of a search or a replay, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labkit.sim.forcing import forcings, obstacles
from labkit.sim.life import Life
from labkit.sim.plan import Plan
from labkit.sim.search import Tally
from labkit.stack.releases.beside import options

_MAX_BREACHES = 5


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        lines: for people.
        broken: the lives that broke something.
        numbers: what was counted, by name.
    """

    lines: Sequence[str]
    broken: Sequence[Life]
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_broken(self) -> bool:
        """Return True if a life broke something."""
        return bool(self.broken)

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        broken = [
            {"token": life.plan.token, "breaches": list(life.breaches)} for life in self.broken
        ]
        return {**self.numbers, "broken": broken}


def searched(tally: Tally, first_seed: int) -> Report:
    """Report a search.

    Args:
        tally: the sum of its lives.
        first_seed: of the first one.
    """
    text = f"{_sum(tally)}; the first seed was {first_seed}"
    return Report([text, *_broken(tally)], tally.broken, _numbers(tally))


def proven(tally: Tally, depth: int) -> Report:
    """Report that every life with so many deviations was lived.

    Args:
        tally: the sum of all lives.
        depth: how many deviations, at most.
    """
    text = f"every life with at most {depth} deviations: {_sum(tally)}"
    return Report([text, *_broken(tally)], tally.broken, _numbers(tally))


def replayed(plan: Plan, life: Life) -> Report:
    """Report one life: what happened in it, and what it broke.

    Args:
        plan: what was to happen.
        life: the life.
    """
    happened = [f"  {deviation}" for deviation in life.plan.deviations] or ["  nothing"]
    never = sorted(set(plan.deviations) - set(life.plan.deviations))
    happened += [f"  NEVER HAPPENED: {deviation}" for deviation in never]
    return Report(
        [
            f"{', '.join(life.plan.stories)}; what happened that does not in a calm life:",
            *happened,
            repr(life.record.diagram("the life")),
            "what it changed in the tables:",
            *(f"  {change}" for change in life.changes),
            f"digest of all tables: {life.digest}",
            *(_breaches(life) or ["every invariant holds"]),
            *_real(life),
        ],
        [life] if life.breaches else [],
    )


def _sum(tally: Tally) -> str:
    return (
        f"{tally.lives:,} lives, {tally.decisions:,} decisions, {tally.deviations:,} deviations at "
        f"{len(tally.reached)} points, {tally.deaths:,} deaths; {len(tally.broken)} broke something"
    )


def _numbers(tally: Tally) -> dict[str, int]:
    return {
        "lives": tally.lives,
        "decisions": tally.decisions,
        "deviations": tally.deviations,
        "points": len(tally.reached),
        "deaths": tally.deaths,
    }


def _broken(tally: Tally) -> list[str]:
    return [
        line
        for life in tally.broken
        for line in (
            *_breaches(life),
            f"  labkit sim {options()}--replay '{life.plan.token}'",
            *_real(life),
        )
    ]


def _real(life: Life) -> list[str]:
    """Return how a life that broke something is played on a real lab, or why it cannot be."""
    if not life.breaches:
        return []
    cannot = list(obstacles(forcings(life.plan, life.order)))
    if cannot:
        return [f"  no real lab can be made to live it: {obstacle}" for obstacle in cannot]
    return [f"  on a real lab: labkit matrix --replay '{life.plan.token}'"]


def _breaches(life: Life) -> list[str]:
    return [f"BROKEN {breach}" for breach in life.breaches[:_MAX_BREACHES]]
