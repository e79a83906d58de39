"""Several tables at once, as they are, and as a step changed them."""

from collections.abc import Mapping

from labkit.lab.display import html
from labkit.lab.display.frames import Difference, Table


class Tables:
    """Several frames to be shown one under the other.

    Args:
        frames: name → frame.
    """

    def __init__(self, frames: Mapping[str, Table]) -> None:
        self.frames = frames

    def __getitem__(self, name: str) -> Table:
        return self.frames[name]

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}\n{one!r}" for name, one in self.frames.items())

    def _repr_html_(self) -> str:
        return "".join(
            html.table(name, [str(column) for column in one.columns], one.to_numpy().tolist())
            for name, one in self.frames.items()
        )


class Seen:
    """What a step changed: tables before and after, marked in colour and in text."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []

    @property
    def changed(self) -> list[str]:
        """Names of the tables that the step changed."""
        return [difference.table for difference in self.differences if difference.changed]

    def __getitem__(self, table: str) -> Difference:
        return next(difference for difference in self.differences if difference.table == table)

    def only(self, *tables: str) -> "Seen":
        """The same step, in these tables alone."""
        part = Seen()
        part.differences = [self[table] for table in tables]
        return part

    def __repr__(self) -> str:
        return "\n\n".join(difference.text() for difference in self.differences)

    def _repr_html_(self) -> str:
        return "".join(difference.html() for difference in self.differences)
