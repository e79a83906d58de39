"""The figures of a measurement, with a name, a unit and perhaps a target."""

import re
from dataclasses import asdict, dataclass
from typing import Any

_TARGET = re.compile(r"(<=|>=|<|>)([0-9.]+)")


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured; a name stands once in a run.
        value: None where it cannot be measured here, or is left out of a quick run.
        unit: of the value.
        target: as `>=600`; None where there is none.
        note: what the value is of, where that is another thing in each run; else empty.
    """

    name: str
    value: float | None
    unit: str
    target: str | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Return True if the target is met; None where there is no target, or no value."""
        if self.target is None or self.value is None:
            return None
        match = _TARGET.fullmatch(self.target)
        assert match, self.target
        sign, number = match[1], float(match[2])
        above = self.value > number if sign[0] == ">" else self.value < number
        return above or (sign.endswith("=") and self.value == number)

    def as_json(self) -> dict[str, Any]:
        """Return what `labkit bench --json` prints; four digits are more than it is worth."""
        value = None if self.value is None else float(f"{self.value:.4g}")
        return {**asdict(self), "value": value}

    def as_row(self) -> dict[str, str]:
        """Return it as text for people."""
        says = {None: "–", True: "met", False: "MISSED"}[self.met]
        name = f"{self.name}: {self.note}" if self.note else self.name
        return {
            "figure": name,
            "value": shown(self.value),
            "unit": self.unit,
            "target": self.target or "–",
            "is": says,
        }


def shown(value: float | None) -> str:
    """Write a value in three digits, thousands whole."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
