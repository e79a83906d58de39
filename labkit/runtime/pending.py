"""What the steps of a group write and need not see at once: it goes to the database together.

One row by itself costs MySQL and its driver 0.2 ms of CPU, one of ten in the same INSERT 0.03; an
UPDATE that goes along with others costs half. So a group keeps what it writes until a statement
asks for the same table, and else until its end.

Where a step must know what came of a write it may *presume* what nearly always does: that the key
is new, that the condition holds. The database decides before the commit, by its keys and by the
number of rows; if one presumption was wrong, nothing of the group is kept, and it runs again with
none. This is optimistic concurrency control (Kung and Robinson, 1981), inside one transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError

from labkit.runtime.statements import Compiled


class Misjudged(Exception):
    """A group presumed what is not so: to be undone, and run again with nothing presumed."""


@dataclass
class _Batch:
    """One statement, and the values that it is to be run with, in their order."""

    compiled: Compiled
    presumed: bool
    values: list[Mapping[str, Any]] = field(default_factory=list)


class Pending:
    """The writes of one transaction that were not sent yet: table → what it is to get, in order.

    Writes to different tables change places, those to one table never do.

    Args:
        cursor: the driver's.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._batches: dict[Table, list[_Batch]] = {}

    def add(self, compiled: Compiled, values: Mapping[str, Any], *, presumed: bool) -> None:
        """Keep a write for later.

        Args:
            compiled: an insert, or an update of one row that looks at no other table.
            values: of it.
            presumed: whether the step went on as if it had changed its row.
        """
        (table,) = compiled.tables
        batches = self._batches.setdefault(table, [])
        if not batches or (batches[-1].compiled, batches[-1].presumed) != (compiled, presumed):
            batches.append(_Batch(compiled, presumed))
        batches[-1].values.append(values)

    def flush(self, tables: Iterable[Table] | None = None) -> None:
        """Send what these tables are to get; all, where none is named.

        Raises:
            Misjudged: something that was presumed is not so.
        """
        for table in tuple(self._batches) if tables is None else tables:
            for batch in self._batches.pop(table, ()):
                self._send(batch)

    def _send(self, batch: _Batch) -> None:
        try:
            changed = batch.compiled.execute_many(self._cursor, batch.values)
        except IntegrityError as error:
            raise Misjudged(str(error)) from error
        if batch.presumed and changed != len(batch.values):
            raise Misjudged(f"{changed} of {len(batch.values)} rows met their condition")
