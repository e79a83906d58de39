"""The choice of cells: all that the columns hold, a part of them, or pairs."""

import random
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from labkit.faults.points import catalogue
from labkit.matrix.cells import Cell
from labkit.matrix.scenario import SCENARIOS
from labkit.shop.tables import TABLES

#: scenario → the failpoints that it reaches.
Columns = Mapping[str, frozenset[str]]
#: Cells of a sample for each scenario, which needs a baseline run to find its column.
_CELLS_PER_SCENARIO = 5

#: Steps of the helper whose failpoints no scenario can reach, and why.
_HELPER_STEPS = {
    "prepare_mysql": "the matrix stands on files, where no schema is made",
    "prepare_zookeeper": "the matrix leases its numbers in a folder",
    "remove_topics": "the matrix has a broker of its own, which forgets them by itself",
}
#: Failpoints that no scenario can reach, and why.
UNREACHABLE = {
    **{
        f"{service}.mark_missing.{when}_commit": (
            f"{service} sends dead letters only, which no group must have: none can lack one"
        )
        for service in ("goods", "coupon", "user", "log")
        for when in ("before", "after")
    },
    **{
        f"{service}.{step}.{when}_commit": (
            "the matrix keeps all messages, for the invariants: twin lives and a test forget"
        )
        for service in TABLES
        for step in ("forget_settled", "forget_handled")
        for when in ("before", "after")
    },
    **{
        f"helper.{step}.{when}_work": why
        for step, why in _HELPER_STEPS.items()
        for when in ("before", "after")
    },
    **{
        f"helper.migrate.{when}_statement": "a lab of one release has nothing to migrate"
        for when in ("before", "after")
    },
}


def parse_cell(name: str, action: str) -> Cell:
    """Parse `SCENARIO:FAILPOINT[+FAILPOINT]`.

    Raises:
        ValueError: there is no such scenario or failpoint, or it cannot take the action.
    """
    scenario, _, rest = name.partition(":")
    failpoints = tuple(rest.split("+"))
    if scenario not in SCENARIOS:
        raise ValueError(f"{scenario!r} is no scenario; there are {', '.join(SCENARIOS)}")
    points = catalogue()
    for failpoint in failpoints:
        if failpoint not in points:
            raise ValueError(f"{failpoint!r} is no failpoint; list them with: labkit failpoints")
        if action.partition(":")[0] not in points[failpoint].actions:
            raise ValueError(
                f"{failpoint} can {', '.join(points[failpoint].actions)}; not {action!r}"
            )
    return Cell(scenario, failpoints, action)


def scenarios(only: Iterable[str], sample: int | None, chance: random.Random) -> list[str]:
    """List the scenarios whose columns are needed.

    Args:
        only: patterns of cells' names; all scenarios where there is none.
        sample: how many cells are wanted; None: all.
        chance: draws the sample.
    """
    patterns = [pattern.partition(":")[0] for pattern in only] or ["*"]
    wanted = [name for name in SCENARIOS if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if sample is None:
        return wanted
    return chance.sample(wanted, min(len(wanted), 1 + sample // _CELLS_PER_SCENARIO))


def singles(columns: Columns, only: Iterable[str], action: str) -> list[Cell]:
    """Make a cell for each failpoint that a scenario reaches and that can take the action."""
    able = {
        name for name, point in catalogue().items() if action.partition(":")[0] in point.actions
    }
    cells = [
        Cell(name, (failpoint,), action)
        for name in SCENARIOS
        if name in columns
        for failpoint in sorted(columns[name] & able)
    ]
    patterns = [pattern if ":" in pattern else f"{pattern}:*" for pattern in only]
    return [
        cell
        for cell in cells
        if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]


def pairs(cells: list[Cell], number: int, chance: random.Random) -> list[Cell]:
    """Draw cells in which two failpoints of one scenario are armed.

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
    """List the failpoints that no scenario reaches, but for `UNREACHABLE`."""
    reached = frozenset[str]().union(*columns.values())
    return sorted(catalogue().keys() - reached - UNREACHABLE.keys())
