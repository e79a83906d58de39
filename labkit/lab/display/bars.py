"""A bar chart with a limit: the part beyond it has another colour, another sign and a label."""

from collections.abc import Mapping
from html import escape

from labkit.lab.display.html import LEFT

_UNIT_PX = 9
_WITHIN, _BEYOND = "#3b6ea5", "#b3261e"


class BarChart:
    """A count for each case, beside the highest count that is allowed.

    Args:
        counts: case → count.
        limit: the highest count that is allowed.
        unit: what is counted, as `sold`.
    """

    def __init__(self, counts: Mapping[str, int], limit: int, unit: str) -> None:
        self.counts = dict(counts)
        self.limit = limit
        self.unit = unit

    def label(self, number: int) -> str:
        """Return the label of a bar."""
        if number > self.limit:
            return f"✗ {number} {self.unit}, {number - self.limit} too many"
        remaining = self.limit - number
        return f"● {number} {self.unit}" + (f", {remaining} left" if remaining else "")

    def __repr__(self) -> str:
        widths = max(map(len, self.counts)), max(self.counts.values())
        lines = [
            f"{name:<{widths[0]}}  {self._blocks(number):<{widths[1]}}  {self.label(number)}"
            for name, number in self.counts.items()
        ]
        return "\n".join([self._caption(), *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td {LEFT}>{escape(name)}</td><td {LEFT}>{self._bar(number)}</td>"
            f"<td {LEFT}>{self.label(number)}</td></tr>"
            for name, number in self.counts.items()
        )
        return f"<table><caption {LEFT}>{self._caption()}</caption><tbody>{rows}</tbody></table>"

    def _caption(self) -> str:
        return f"█ up to the {self.limit} that there are, ░ beyond"

    def _blocks(self, number: int) -> str:
        within = min(number, self.limit)
        return "█" * within + "░" * (number - within)

    def _bar(self, number: int) -> str:
        within = min(number, self.limit)
        return _block("█", _WITHIN, within) + _block("░", _BEYOND, number - within)


def _block(sign: str, colour: str, number: int) -> str:
    """Draw a part of a bar; it is made of signs too, for those who see no colours."""
    if not number:
        return ""
    style = f"display:inline-block;width:{number * _UNIT_PX}px;overflow:hidden;color:{colour}"
    return f'<span style="{style};white-space:nowrap" aria-hidden="true">{sign * number}</span>'
