"""Tables in HTML that JupyterLab shows without scrolling sideways: headers may wrap at underscores.

All that is marked in colour is marked in text too.
"""

from collections.abc import Sequence
from html import escape

from labkit.printable import printable

LEFT = 'style="text-align:left"'
_COLOURS = {"+": "#dff5e1", "~": "#fff3c9", "-": "#f9dcdc"}


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Args:
        caption: the table's name; empty for none.
        header: names of the columns.
        rows: of cells; where the first cell is a mark (`+`, `~`, `-`), the row has its colour.
    """
    name = f"<caption {LEFT}><b>{escape(caption)}</b></caption>" if caption else ""
    if not rows:
        return f"<table>{name}<tbody><tr><td>(no rows)</td></tr></tbody></table>"
    head = "".join(f"<th {LEFT}>{breakable(cell)}</th>" for cell in header)
    body = "".join(_row(row) for row in rows)
    return f"<table>{name}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Sequence[object]) -> str:
    colour = _COLOURS.get(str(row[0]))
    style = f' style="background:{colour};color:#111"' if colour else ""
    return f"<tr{style}>{''.join(map(_cell, row))}</tr>"


def _cell(value: object) -> str:
    text = breakable(str(value))
    if isinstance(value, int):
        return f"<td>{text}</td>"
    bold = f"<b>{text}</b>" if " → " in text else text
    return f"<td {LEFT}>{bold}</td>"


def breakable(text: str) -> str:
    """Escape a text for HTML, with places where a long name may be broken."""
    return escape(printable(text, lines=True)).replace("_", "_<wbr>").replace(",", ",<wbr>")
