"""Bars against a limit: what is beyond it is drawn in another colour, and told in words."""

from collections.abc import Mapping
from html import escape

from labkit.lab.display.html import LEFT

_UNIT_PX = 9
_WITHIN, _BEYOND = "#3b6ea5", "#b3261e"


class Bars:
    """How much of something there was, by case, beside how much there may be.

    Args:
        of: case → how many.
        limit: how many there may be.
        unit: what is counted, as `sold`.
    """

    def __init__(self, of: Mapping[str, int], limit: int, unit: str) -> None:
        self.of = dict(of)
        self.limit = limit
        self.unit = unit

    def says(self, number: int) -> str:
        """What a bar says in words."""
        if number > self.limit:
            return f"✗ {number} {self.unit}, {number - self.limit} too many"
        left = self.limit - number
        return f"● {number} {self.unit}" + (f", {left} left" if left else "")

    def __repr__(self) -> str:
        widths = max(map(len, self.of)), max(self.of.values())
        lines = [
            f"{name:<{widths[0]}}  {self._blocks(number):<{widths[1]}}  {self.says(number)}"
            for name, number in self.of.items()
        ]
        return "\n".join([self._caption(), *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td {LEFT}>{escape(name)}</td><td {LEFT}>{self._bar(number)}</td>"
            f"<td {LEFT}>{self.says(number)}</td></tr>"
            for name, number in self.of.items()
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
    """A part of a bar; its signs are in its colour, so that it is a bar without colours too."""
    if not number:
        return ""
    style = f"display:inline-block;width:{number * _UNIT_PX}px;overflow:hidden;color:{colour}"
    return f'<span style="{style};white-space:nowrap" aria-hidden="true">{sign * number}</span>'
