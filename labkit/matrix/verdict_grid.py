"""The crash matrix as a picture: a sign and a colour for each verdict, failpoint by scenario."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from labkit.lab.display import html
from labkit.matrix.cells import SIGNS, CellVerdict

_NOTHING = "·"
_COLOURS: Mapping[str, str] = {
    CellVerdict.HELD: "#dff5e1",
    CellVerdict.BROKEN: "#f4b6b6",
    CellVerdict.NOT_REACHED: "#fff3c9",
}
_LEGEND = "  ".join([*(f"{sign} {verdict}" for verdict, sign in SIGNS.items()), "· not played"])


class VerdictGrid(pd.DataFrame):
    """A frame of verdicts that draws itself; an empty text is a cell that was not run.

    Its index names the failpoints, its columns the scenarios.
    """

    @property
    def _constructor(self) -> "type[VerdictGrid]":
        return VerdictGrid

    def __repr__(self) -> str:
        signs = pd.DataFrame(self).map(lambda verdict: SIGNS.get(verdict, _NOTHING))
        return f"{signs.to_string()}\n{_LEGEND}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th {html.LEFT}>{escape(str(name))}</th>" for name in ("", *self.columns))
        body = "".join(
            f"<tr><th {html.LEFT}>{html.breakable(str(name))}</th>{''.join(map(_cell, row))}</tr>"
            for name, row in zip(self.index, self.to_numpy().tolist(), strict=True)
        )
        legend = f"<caption {html.LEFT}>{_LEGEND}</caption>"
        return f"<table>{legend}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(verdict: str) -> str:
    colour = _COLOURS.get(verdict)
    paint = f";background:{colour};color:#111" if colour else ""
    sign = SIGNS.get(verdict, _NOTHING)
    return f'<td style="text-align:center{paint}" title="{verdict or "not played"}">{sign}</td>'
