"""The tables of a lab as frames, with short names that stay the same for as long as the data."""

from labkit.lab.display.aliases import Aliases, AliasLoader
from labkit.lab.display.frames import MAX_SHOWN_ROWS, Difference, Table, frame, only_changes
from labkit.ops.reader import Reader, Rows


class LabTables:
    """Reads tables and names the ids in them.

    Args:
        reader: of the lab's databases.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.forget_names()

    def forget_names(self) -> None:
        """Begin again with O1, after a reset."""
        self._aliases = Aliases()
        self._loader = AliasLoader(self._reader, self._aliases)

    def load_names(self) -> None:
        """Name all new ids in the order of their making, whichever tables are shown."""
        self._loader.load()

    def alias(self, text: str) -> str:
        """Replace the ids in a text by their short names."""
        self.load_names()
        return self._aliases.replace(text)

    def format(self, column: str, value: object) -> object:
        """Return a value of a column as a table shows it."""
        return self._aliases.format(column, value)

    def frame(self, name: str, limit: int, page: int | None, raw: bool) -> Table:
        """Read a page of a table, the last one if none is given.

        Args:
            name: of the table.
            limit: rows of a page.
            page: from 1.
            raw: every column, as the database holds it.
        """
        total = self._reader.count(name)
        begin = max(0, total - limit) if page is None else (page - 1) * limit
        rows = self._reader.page(name, limit, begin)
        table = Table.of(rows, self._reader.columns(name)) if raw else self._frame(name, rows)
        if len(rows) < total:
            table.note = f"rows {begin + 1:,} to {begin + len(rows):,} of {total:,}; others: page=1"
        return table

    def difference(self, name: str, before: Rows) -> Difference:
        """Compare a table with earlier rows; of many rows only those that differ are shown."""
        after = self._reader.table(name)
        if max(len(before), len(after)) > MAX_SHOWN_ROWS:
            before, after = only_changes(before, after)
        return Difference(name, self._frame(name, before), self._frame(name, after))

    def _frame(self, name: str, rows: Rows) -> Table:
        self.load_names()
        return frame(name, rows, self._aliases)
