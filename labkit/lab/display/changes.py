"""Several tables shown at once, and the changes that a step made to them."""

from collections.abc import Mapping

from labkit.lab.display import html
from labkit.lab.display.frames import Difference, Table


class Tables:
    """Several frames, shown one under the other.

    Args:
        frames: name → frame.
    """

    def __init__(self, frames: Mapping[str, Table]) -> None:
        self.frames = frames

    def __getitem__(self, name: str) -> Table:
        return self.frames[name]

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}\n{frame!r}" for name, frame in self.frames.items())

    def _repr_html_(self) -> str:
        return "".join(
            html.table(name, [str(column) for column in frame.columns], frame.to_numpy().tolist())
            for name, frame in self.frames.items()
        )


class Changes:
    """Tables before and after a step, with the changes marked in colour and in text."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []

    @property
    def changed(self) -> list[str]:
        """Return the names of the tables that the step changed."""
        return [difference.table for difference in self.differences if difference.changed]

    def __getitem__(self, table: str) -> Difference:
        return next(difference for difference in self.differences if difference.table == table)

    def only(self, *tables: str) -> "Changes":
        """Return the changes of these tables alone."""
        part = Changes()
        part.differences = [self[table] for table in tables]
        return part

    def __repr__(self) -> str:
        return "\n\n".join(difference.text() for difference in self.differences)

    def _repr_html_(self) -> str:
        return "".join(difference.html() for difference in self.differences)
