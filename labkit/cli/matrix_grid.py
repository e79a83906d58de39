"""The grid of the crash matrix for a terminal of 100 columns: a sign a cell, and what they mean."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from string import ascii_letters, digits

from rich.text import Text

from labkit.faults.points import catalogue
from labkit.matrix.cells import SIGNS, CellResult, CellVerdict
from labkit.matrix.scenario import SCENARIOS, Scenario
from labkit.runtime.injection.boundaries import KINDS, Failpoint

#: verdict → style; the sign says it, too.
_STYLES: Mapping[str, str] = {
    CellVerdict.BROKEN: "bold red",
    CellVerdict.NOT_REACHED: "yellow",
    CellVerdict.HELD: "green",
}
_GROUP = 5
_ALPHA = 0x3B1  # where the letters and digits of ASCII end, the Greek ones go on
_KIND_OF = {boundary: kind for kind, boundaries in KINDS.items() for boundary in boundaries}

_Grid = dict[str, dict[str, str]]


def grid(
    results: Iterable[CellResult], scenarios: Mapping[str, Scenario] = SCENARIOS
) -> Iterator[Text]:
    """Draw the lines of the grid: crossings by scenarios, in a block for each service.

    A line is of all boundaries of a crossing (before and after a commit, say), and shows the worst
    verdict.

    Args:
        results: of the cells that were played.
        scenarios: all that there are, in the order of the columns.
    """
    cells = _worst(results)
    columns = [name for name in scenarios if any(name in line for line in cells.values())]
    letters = dict(zip(columns, _letters(), strict=False))
    width = max(map(len, cells), default=0)
    service = ""
    for name in cells:
        if name.partition(".")[0] != service:
            service = name.partition(".")[0]
            yield Text(f"{service:<{width}}  {_spaced(letters.values())}", style="bold")
        yield _line(name, width, [cells[name].get(column, "") for column in columns])
    yield Text()
    for column, letter in letters.items():
        yield Text(f"{letter}  {column}: {scenarios[column].summary}")
    yield Text("  ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items()))


def _letters() -> Iterator[str]:
    """Yield a letter for each column, however many there are."""
    return chain(ascii_letters, digits, filter(str.isalpha, map(chr, count(_ALPHA))))


def _worst(results: Iterable[CellResult]) -> _Grid:
    """Map crossing → scenario → worst verdict, in the order of the list of failpoints."""
    points, lines = catalogue(), defaultdict[str, dict[str, str]](dict)
    order = list(SIGNS)
    for result in results:
        for failpoint in result.cell.failpoints:
            line = lines[_crossing(points[failpoint])]
            before = line.get(result.cell.scenario, CellVerdict.HELD)
            line[result.cell.scenario] = min(before, result.verdict, key=order.index)
    names = dict.fromkeys(_crossing(point) for point in points.values())
    return {name: lines[name] for name in names if name in lines}


def _crossing(point: Failpoint) -> str:
    return f"{point.service}.{point.step} {_KIND_OF[point.boundary]}"


def _line(name: str, width: int, verdicts: list[str]) -> Text:
    line = Text(f"{name:<{width}}  ")
    for number, verdict in enumerate(verdicts):
        sign, style = SIGNS.get(verdict, "·"), _STYLES.get(verdict, "dim")
        line.append(" " if number and number % _GROUP == 0 else "")
        line.append(sign, style)
    return line


def _spaced(letters: Iterable[str]) -> str:
    row = "".join(letters)
    return " ".join(row[at : at + _GROUP] for at in range(0, len(row), _GROUP))
