"""Which cells are played: all that the columns hold, a part of them, or pairs."""

import random
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from labkit.faults.points import catalogue
from labkit.matrix.cells import Cell
from labkit.matrix.scenario import SCENARIOS

#: scenario → the failpoints that it reaches.
Columns = Mapping[str, frozenset[str]]
#: So many cells of a sample are of one scenario, whose column has to be found first.
_OF_A_SCENARIO = 5

#: Failpoints that no story can reach, and why.
_ELSEWHERE = {
    "prepare_mysql": "the matrix stands on files, where no schema is made",
    "prepare_zookeeper": "the matrix leases its numbers in a folder",
    "remove_topics": "the matrix has a broker of its own, which forgets them by itself",
}
UNREACHABLE = {
    **{
        f"{service}.mark_missing.{when}_commit": (
            f"{service} sends dead letters only, which no group must have: none can lack one"
        )
        for service in ("goods", "coupon", "user", "log")
        for when in ("before", "after")
    },
    **{
        f"helper.{step}.{when}_work": why
        for step, why in _ELSEWHERE.items()
        for when in ("before", "after")
    },
}


def read(name: str, action: str) -> Cell:
    """The cell that `SCENARIO:FAILPOINT[+FAILPOINT]` names.

    Raises:
        ValueError: there is no such scenario or failpoint, or it cannot do that.
    """
    story, _, rest = name.partition(":")
    failpoints = tuple(rest.split("+"))
    if story not in SCENARIOS:
        raise ValueError(f"{story!r} is no scenario; there are {', '.join(SCENARIOS)}")
    known = catalogue()
    for failpoint in failpoints:
        if failpoint not in known:
            raise ValueError(f"{failpoint!r} is no failpoint; list them with: labkit failpoints")
        if action.partition(":")[0] not in known[failpoint].actions:
            raise ValueError(
                f"{failpoint} can {', '.join(known[failpoint].actions)}; not {action!r}"
            )
    return Cell(story, failpoints, action)


def scenarios(only: Iterable[str], sample: int | None, chance: random.Random) -> list[str]:
    """The scenarios whose columns are needed.

    Args:
        only: patterns of the names of cells; all where there is none.
        sample: how many cells are wanted; None: all.
        chance: draws.
    """
    stories = [one.partition(":")[0] for one in only] or ["*"]
    wanted = [name for name in SCENARIOS if any(fnmatchcase(name, story) for story in stories)]
    if sample is None:
        return wanted
    return chance.sample(wanted, min(len(wanted), 1 + sample // _OF_A_SCENARIO))


def singles(columns: Columns, only: Iterable[str], action: str) -> list[Cell]:
    """A cell for each failpoint that a scenario reaches and that can do this."""
    able = {
        name for name, point in catalogue().items() if action.partition(":")[0] in point.actions
    }
    found = [
        Cell(name, (one,), action)
        for name in SCENARIOS
        if name in columns
        for one in sorted(columns[name] & able)
    ]
    patterns = [one if ":" in one else f"{one}:*" for one in only]
    return [
        cell
        for cell in found
        if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]


def pairs(cells: list[Cell], number: int, chance: random.Random) -> list[Cell]:
    """So many cells in which two failpoints of one scenario fail.

    Raises:
        ValueError: no scenario has two.
    """
    columns: dict[str, list[str]] = {}
    for cell in cells:
        columns.setdefault(cell.scenario, []).extend(cell.failpoints)
    able = {name: column for name, column in columns.items() if len(column) > 1}
    if not able:
        raise ValueError("no scenario reaches two failpoints that can do this")
    weights = [len(column) for column in able.values()]
    drawn = chance.choices(list(able), weights, k=number)
    return [Cell(name, tuple(chance.sample(able[name], 2)), cells[0].action) for name in drawn]


def unreached(columns: Columns) -> list[str]:
    """The failpoints that no scenario reaches, and that are not known to be out of reach."""
    reached = frozenset[str]().union(*columns.values())
    return sorted(catalogue().keys() - reached - UNREACHABLE.keys())
