"""Tables on a terminal: as wide as they are in a pipe, and as many columns as fit on a screen."""

import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labkit.printable import printable

#: No markup and no emoji codes: the text is data, and `[red]` or `:smile:` in it are letters.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
#: Columns of a pipe: nothing is wrapped, so that grep finds a whole row.
_PIPED = 100_000
#: The longest word that is kept in one piece on a screen; ids have 18 or 19 digits.
_LONGEST_WORD = 24
_BORDER = 3  # of each column: a space on either side, and a line
NOTHING = "–"


def make_console() -> Console:
    """Make the console for standard output, which gives no character a special meaning."""
    return Console(width=None if sys.stdout.isatty() else _PIPED, **_PLAIN)


def show_table(
    console: Console, title: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> None:
    """Print rows as a table, and name the columns for which the screen is too narrow."""
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    table = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    widths = [_whole_width(name, [row[at] for row in cells]) for at, name in enumerate(columns)]
    if _how_many_fit(widths, console.width - 1) < len(columns):
        widths = [_least_width(name, [row[at] for row in cells]) for at, name in enumerate(columns)]
    fits = _how_many_fit(widths, console.width - 1)
    for name, width in zip(columns[:fits], widths, strict=False):
        table.add_column(_header(name, width), overflow="fold", min_width=width)
    for row in cells:
        table.add_row(*row[:fits])
    console.print(table)
    if hidden := columns[fits:]:
        text = f"too wide for {console.width} columns, not shown: {', '.join(hidden)}"
        console.print(f"{text} (a wider window, a pipe or --json has them)", soft_wrap=True)


def _cell(value: object) -> Text:
    return Text(NOTHING if value is None else printable(str(value)))


def _whole_width(name: str, cells: Sequence[Text]) -> int:
    """Return the width in which no text of a column is broken."""
    return max(len(name), *(cell.cell_len for cell in cells))


def _least_width(name: str, cells: Sequence[Text]) -> int:
    """Return the width in which no word of a column is broken, nor a part of its name."""
    words = [word for cell in cells for word in cell.plain.split()]
    longest = max((Text(word).cell_len for word in words), default=0)
    return max(min(longest, _LONGEST_WORD), *map(len, _parts(name)))


def _how_many_fit(widths: Sequence[int], room: int) -> int:
    """Count the columns that fit, from the first on; one at least."""
    ends = accumulate(width + _BORDER for width in widths)
    return max(1, sum(end <= room for end in ends))


def _header(name: str, width: int) -> Text:
    """Break a column's name after underscores where the column is narrow."""
    lines = [""]
    for part in _parts(name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines))


def _parts(name: str) -> list[str]:
    return [f"{part}_" for part in name.split("_")[:-1]] + [name.split("_")[-1]]
