"""Tables for people: pandas frames with short names for ids, and the differences of two of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
from rich.cells import cell_len

from labkit.lab.display import html
from labkit.lab.display.aliases import Aliases
from labkit.lab.display.columns import (
    CODE_LABELS,
    ROW_KEYS,
    SHOWN_COLUMNS,
    SORT_ORDER,
    STATUS_LABELS,
)
from labkit.ops.reader import Row, Rows
from labkit.printable import printable

#: The highest number of rows that a table shows.
MAX_SHOWN_ROWS = 200
_CONTEXT_ROWS = 20


def frame(table: str, rows: Sequence[Row], aliases: Aliases) -> "Table":
    """Make a frame of the shown columns, with short names for ids and labels for codes.

    Args:
        table: the table's name.
        rows: as the database has them, in any order.
        aliases: short names; those of new ids are added.
    """
    aliases.add(rows)
    ordered = sorted(rows, key=lambda row: [_sort_key(part, row[part]) for part in ROW_KEYS[table]])
    shown = [
        {column: _show(table, column, row[column], aliases) for column in SHOWN_COLUMNS[table]}
        for row in ordered
    ]
    return Table.of(shown, SHOWN_COLUMNS[table])


def _sort_key(part: str, value: object) -> object:
    return SORT_ORDER[part].index(value) if part in SORT_ORDER else value


def _show(table: str, column: str, value: Any, aliases: Aliases) -> object:
    labels = STATUS_LABELS.get(table, {}) if column == "status" else CODE_LABELS.get(column)
    return f"{value} {labels[value]}" if labels else aliases.format(column, value)


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < 1 << 63


class Table(pd.DataFrame):
    """A frame that shows itself: no index, no cell cut, and a note where it has no rows.

    Of many rows it shows the last; its note names the rows that it does not have.
    """

    _metadata: ClassVar[list[str]] = ["note"]
    note = ""

    @classmethod
    def of(
        cls, rows: Iterable[Mapping[str, object]], columns: Iterable[str] | None = None
    ) -> "Table":
        """Make a frame that holds each value as it is.

        Left to itself, pandas makes floats of whole numbers beside None, and 64-bit ids lose
        their last digits.

        Args:
            rows: of the frame.
            columns: their names, in order. Defaults to those of the rows.
        """
        frame = cls(list(rows), columns=None if columns is None else list(columns), dtype=object)
        whole = [name for name in frame if len(frame) and frame[name].map(_is_whole).all()]
        return frame.astype(dict.fromkeys(whole, "int64"))  # a sum of them is a number again

    @property
    def _constructor(self) -> "type[Table]":
        return Table

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            shown = (
                str(self.tail(MAX_SHOWN_ROWS).to_string(index=False)) if len(self) else "(no rows)"
            )
        text = "\n".join(filter(None, [shown, self._footer()]))
        return printable(text, lines=True)

    def _repr_html_(self) -> str:
        rows = self.tail(MAX_SHOWN_ROWS).to_numpy().tolist()
        return html.table(self._footer(), [str(name) for name in self.columns], rows)

    def _footer(self) -> str:
        hidden = (
            f"the last {MAX_SHOWN_ROWS} of {len(self):,} rows" if len(self) > MAX_SHOWN_ROWS else ""
        )
        return "; ".join(filter(None, [hidden, self.note]))


def only_changes(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """Drop the rows that are the same before and after."""
    same = {tuple(row.values()) for row in before} & {tuple(row.values()) for row in after}
    if len(same) == len(before) == len(after):  # the last few, to show that nothing has changed
        return before[-_CONTEXT_ROWS:], after[-_CONTEXT_ROWS:]
    return (
        [row for row in before if tuple(row.values()) not in same],
        [row for row in after if tuple(row.values()) not in same],
    )


class Difference:
    """One table before and after a step: new and changed rows are marked, in colour and in text.

    Args:
        table: the table's name.
        before: the frame before.
        after: the frame after.
    """

    def __init__(self, table: str, before: pd.DataFrame, after: pd.DataFrame) -> None:
        self.table = table
        self.before = before
        self.after = after

    @property
    def changed(self) -> bool:
        """Return True if the step changed the table."""
        return any(mark for mark, _ in self._rows())

    def lines(self) -> list[list[str]]:
        """Return header and rows as text: `+` new, `~` changed (old → new), `-` gone."""
        header = [" ", *(self.after if len(self.after) else self.before).columns]
        return [header, *([mark or " ", *cells] for mark, cells in self._rows())]

    def text(self) -> str:
        """Return the table in plain text, columns aligned."""
        _, *rows = self.lines()
        return "\n".join([self.caption(), *(_aligned(self.lines()) if rows else [])])

    __repr__ = text

    def caption(self) -> str:
        """Return the table's name, with a note where it has no rows or has not changed."""
        _, *rows = self.lines()
        word = "no rows" if not rows else "" if self.changed else "unchanged"
        return f"{self.table} ({word})" if word else self.table

    def html(self) -> str:
        """Return the table in HTML; its first column has the marks, so that they need no colour."""
        header, *rows = self.lines()
        return html.table(self.caption(), header, rows)

    _repr_html_ = html

    def _rows(self) -> list[tuple[str, list[str]]]:
        old, new = self._keyed(self.before), self._keyed(self.after)
        gone = [key for key in old if key not in new]
        return [_compare(old.get(key), new.get(key)) for key in (*gone, *new)]

    def _keyed(self, table: pd.DataFrame) -> dict[tuple[str, ...], list[str]]:
        rows = [
            {str(column): printable(str(value)) for column, value in row.items()}
            for row in table.to_dict("records")
        ]
        return {
            tuple(row[part] for part in ROW_KEYS[self.table]): list(row.values()) for row in rows
        }


def _compare(old: list[str] | None, new: list[str] | None) -> tuple[str, list[str]]:
    if new is None:
        return "-", old or []
    if old is None:
        return "+", new
    cells = [
        after if before == after else f"{before} → {after}"
        for before, after in zip(old, new, strict=True)
    ]
    return ("~" if old != new else "", cells)


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(cell_len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell))  # Chinese letters are two wide
            for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
