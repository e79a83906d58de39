"""The figures of a measurement, with a name, a unit and perhaps a target."""

import re
from collections.abc import Mapping
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
        peers: the values of others, in words; empty where none are known.
    """

    name: str
    value: float | None
    unit: str
    target: str | None = None
    note: str = ""
    peers: str = ""

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
        fields = asdict(self) | {"value": value}
        del fields["peers"]  # which are no figures of this run
        return fields

    def as_row(self, before: Mapping[str, float | None] | None = None) -> dict[str, str]:
        """Return it as text for people.

        Args:
            before: the values of an earlier run, by the names of the figures; None: no column.
        """
        says = {None: "–", True: "met", False: "MISSED"}[self.met]
        name = f"{self.name}: {self.note}" if self.note else self.name
        return {
            "figure": name,
            "value": shown(self.value),
            "unit": self.unit,
            "target": self.target or "–",
            "is": says,
            **({} if before is None else {"last run": shown(before.get(self.name))}),
            "others": self.peers,
        }


def shown(value: float | None) -> str:
    """Write a value in three digits, thousands whole."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
