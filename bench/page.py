"""The page of figures: its table and its chart, as the bench found them."""

import datetime
import os
import platform
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.figures import Figure, shown
from bench.measures import CLIENTS

_TABLE = re.compile(r"(<!-- figures -->\n).*(<!-- /figures -->)", re.DOTALL)
_WIDTH, _LEFT, _BAR, _ROW, _TOP = 720, 110, 380, 34, 40
_STYLE = """text { font: 14px sans-serif; fill: #222 } .small { font-size: 12px; fill: #555 }
.bar { fill: #3b6ea5 } .floor { fill: #9a9a9a } .target { stroke: #b3261e; stroke-width: 2 }"""


def renew(page: Path, figures: Sequence[Figure]) -> None:
    """Put figures into a page between its marks, and the chart beside it.

    Args:
        page: a Markdown file with the marks `<!-- figures -->` and `<!-- /figures -->`.
        figures: of a whole run.

    Raises:
        ValueError: the page has no such marks.
    """
    text, marks = _TABLE.subn(
        lambda match: f"{match[1]}{_table(figures)}{match[2]}", page.read_text(encoding="utf-8")
    )
    if marks != 1:
        raise ValueError(f"{page}: has no marks <!-- figures --> and <!-- /figures -->")
    page.write_text(text, encoding="utf-8")
    page.with_suffix(".svg").write_text(chart(figures), encoding="utf-8")


def _table(figures: Sequence[Figure]) -> str:
    cores, python = os.cpu_count(), platform.python_version()
    day = datetime.date.today().isoformat()
    rows = [" | ".join(each.as_row().values()) for each in figures]
    return "\n".join(
        [
            f"Measured on {day}: {cores} cores, {platform.system()}, Python {python}.",
            "",
            "| figure | value | unit | target | is | others |",
            "|---|---|---|---|---|---|",
            *(f"| {row} |" for row in rows),
            "",
        ]
    )


def chart(figures: Sequence[Figure]) -> str:
    """Orders a second by number of clients, beside the floor where it was measured, as SVG."""
    by_name = {each.name: each for each in figures}
    names = [(f"{n} client{'s' * (n > 1)}", "bar") for n in CLIENTS]
    rows = [
        (name, kind, by_name[f"orders, {name}"], _latency(by_name, name)) for name, kind in names
    ]
    if floor := by_name.get("floor: the steps alone"):
        rows.append(("the floor", "floor", floor, "the steps, nothing else"))
    most = max(1.0, *(max(row[2].value or 0, _target(row[2])) for row in rows))
    drawn = [_row(at, *row, _BAR / most) for at, row in enumerate(rows)]
    height = _TOP + _ROW * len(rows) + 10
    summary = "; ".join(f"{name}: {shown(figure.value)} orders/s" for name, _, figure, _ in rows)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>Orders a second. {escape(summary)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            '<text x="10" y="24">Orders a second; a red line is the target</text>',
            *drawn,
            "</svg>",
            "",
        ]
    )


def _latency(by_name: dict[str, Figure], name: str) -> str:
    p50, p99 = (shown(by_name[f"{which}, {name}"].value) for which in ("p50", "p99"))
    return f"p50 {p50} ms, p99 {p99} ms"


def _row(at: int, name: str, kind: str, figure: Figure, note: str, scale: float) -> str:
    y, value = _TOP + _ROW * at, figure.value or 0
    end = _LEFT + value * scale
    parts = [
        f'<text x="10" y="{y + 17}">{name}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{value * scale:.1f}" height="24"/>',
        f'<text x="{end + 8:.1f}" y="{y + 11}">{shown(figure.value)}</text>',
        f'<text class="small" x="{end + 8:.1f}" y="{y + 25}">{note}</text>',
    ]
    if figure.target:
        x = _LEFT + _target(figure) * scale
        parts.append(f'<path class="target" d="M{x:.1f} {y - 3}v30"/>')
    return "".join(parts)


def _target(figure: Figure) -> float:
    return float((figure.target or "0").lstrip("<>="))
