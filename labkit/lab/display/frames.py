"""Tables as people read them: pandas frames with short names for ids, and what changed in them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

import pandas as pd
from rich.cells import cell_len

from labkit.lab.display import html
from labkit.lab.display.columns import KEYS, SHOWN, STATUS, STORY, WORDS
from labkit.printable import printable

Rows = list[dict[str, Any]]
_LETTERS = {
    "order_id": "O",
    "goods_id": "G",
    "user_id": "U",
    "coupon_id": "C",
    "event_id": "E",
    "pay_id": "P",
    "refund_id": "R",
    "trade_no": "T",
    "notify_id": "N",
}
#: What the platform calls what has a name in the shop already.
_SAME = {"out_trade_no": "pay_id", "out_request_no": "refund_id"}
_KIND = {column: column for column in _LETTERS} | _SAME
#: Of one kind, by whatever column they are found: an operation may be about a payment, and an
#: order with nothing left to pay is its own payment.
_ONE_KIND = ("order_id", "pay_id")
#: So many rows of a table are shown at once.
SHOWN_ROWS = 200
_CONTEXT = 20


class Aliases:
    """Short names for 64-bit ids, in order of birth: O1, O2 for orders, U1 for users."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], str] = {}
        self._texts: dict[str, str] = {}
        self._given = Counter[str]()

    def learn(self, rows: Iterable[dict[str, Any]]) -> None:
        """Name ids that have no name yet; ids grow with time, so sorting them gives birth order."""
        found = {
            (_KIND[column], int(value))
            for row in rows
            for column, value in row.items()
            if value and column in _KIND
        }
        for column, number in sorted(found, key=lambda one: (one[1], one[0])):
            if self._find(column, number) is None:
                letter = _LETTERS[column]
                self._given[letter] += 1
                name = f"{letter}{self._given[letter]}"
                self._names[column, number] = self._texts[str(number)] = name

    def show(self, column: str, value: Any) -> Any:
        """A value as people read it: an alias, `–` for nothing, a time to the second."""
        if column == "msg_key":
            return self._names.get(("order_id", int(value)), value)
        kind = _SAME.get(column, column)
        if kind in _LETTERS and value:
            return self._find(kind, int(value))
        if value is None or (kind in _LETTERS and not value):
            return "–"
        return value.strftime("%m-%d %H:%M:%S") if isinstance(value, datetime) else value

    def _find(self, column: str, number: int) -> str | None:
        kinds = _ONE_KIND if column in _ONE_KIND else (column,)
        return next(filter(None, (self._names.get((kind, number)) for kind in kinds)), None)

    def replace(self, text: str) -> str:
        """A text with every known id replaced by its short name; small seeded ids stay."""
        return re.sub(r"\d{15,}", lambda found: self._texts.get(found[0], found[0]), text)


def frame(table: str, rows: Sequence[dict[str, Any]], aliases: Aliases) -> "Table":
    """Rows as a frame with aliases and words for codes, the telling columns only.

    Args:
        table: its name; gives the key by which rows are ordered.
        rows: as the database has them.
        aliases: names for ids; learns new ones.
    """
    aliases.learn(rows)
    ordered = sorted(rows, key=lambda row: [_place(part, row[part]) for part in KEYS[table]])
    shown = [
        {column: _show(table, column, row[column], aliases) for column in SHOWN[table]}
        for row in ordered
    ]
    return Table.of(shown, SHOWN[table])


def _place(part: str, value: Any) -> Any:
    return STORY[part].index(value) if part in STORY else value


def _show(table: str, column: str, value: Any, aliases: Aliases) -> Any:
    words = STATUS.get(table, {}) if column == "status" else WORDS.get(column)
    return f"{value} {words[value]}" if words else aliases.show(column, value)


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


class Table(pd.DataFrame):
    """A frame that shows itself: no index, no cell cut, and a word where it has no rows.

    Of many rows it shows the last; its note says what it does not show.
    """

    _metadata: ClassVar[list[str]] = ["note"]
    note = ""

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]], columns: Iterable[str] | None = None) -> "Table":
        """Make a frame that holds each value as it is.

        Left to itself, pandas makes floats of whole numbers beside None, and 64-bit ids lose
        their last digits.

        Args:
            rows: of the frame.
            columns: their names, in order; those of the rows if not said.
        """
        frame = cls(list(rows), columns=None if columns is None else list(columns), dtype=object)
        whole = [name for name in frame if len(frame) and frame[name].map(_is_whole).all()]
        return frame.astype(dict.fromkeys(whole, "int64"))  # a sum of them is a number again

    @property
    def _constructor(self) -> "type[Table]":
        return Table

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            shown = str(self.tail(SHOWN_ROWS).to_string(index=False)) if len(self) else "(no rows)"
        text = "\n".join(filter(None, [shown, self._what_is_left_out()]))
        return printable(text, lines=True)

    def _repr_html_(self) -> str:
        rows = self.tail(SHOWN_ROWS).to_numpy().tolist()
        return html.table(self._what_is_left_out(), [str(name) for name in self.columns], rows)

    def _what_is_left_out(self) -> str:
        hidden = f"the last {SHOWN_ROWS} of {len(self):,} rows" if len(self) > SHOWN_ROWS else ""
        return "; ".join(filter(None, [hidden, self.note]))


def only_changes(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """Leave out the rows that are the same before and after."""
    same = {tuple(row.values()) for row in before} & {tuple(row.values()) for row in after}
    if len(same) == len(before) == len(after):  # the last few, as a word that nothing has changed
        return before[-_CONTEXT:], after[-_CONTEXT:]
    return (
        [row for row in before if tuple(row.values()) not in same],
        [row for row in after if tuple(row.values()) not in same],
    )


class Difference:
    """One table before and after a step: new and changed rows are marked, in colour and in text.

    Args:
        table: its name.
        before: the frame before.
        after: the frame after.
    """

    def __init__(self, table: str, before: pd.DataFrame, after: pd.DataFrame) -> None:
        self.table = table
        self.before = before
        self.after = after

    @property
    def changed(self) -> bool:
        """Whether the step changed the table at all."""
        return any(mark for mark, _ in self._rows())

    def lines(self) -> list[list[str]]:
        """Header and rows as text: `+` new, `~` changed (old → new), `-` gone."""
        header = [" ", *(self.after if len(self.after) else self.before).columns]
        return [header, *([mark or " ", *cells] for mark, cells in self._rows())]

    def text(self) -> str:
        """The table in plain text, columns aligned."""
        _, *rows = self.lines()
        return "\n".join([self.caption(), *(_aligned(self.lines()) if rows else [])])

    __repr__ = text

    def caption(self) -> str:
        """The table's name, and a word where there is nothing to see."""
        _, *rows = self.lines()
        word = "no rows" if not rows else "" if self.changed else "unchanged"
        return f"{self.table} ({word})" if word else self.table

    def html(self) -> str:
        """The table in HTML; the marks stand in the first column too, not in colour alone."""
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
        return {tuple(row[part] for part in KEYS[self.table]): list(row.values()) for row in rows}


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
