"""The transaction that a step works in: one local transaction, and what the step may use."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, CursorResult, Executable, Select, Table
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError

from labkit.runtime.db.compiled import CompiledStatement, Row, Rows, Values, cursor_of
from labkit.runtime.db.deferred import DeferredWrites
from labkit.runtime.db.errors import is_duplicate
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.row_keys import row_key_of
from labkit.runtime.db.statements import BoundStatement, Key, among, insertion, row_of_key
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import Event
from labkit.settings import Settings


@dataclass
class Transaction:
    """One local transaction, and everything from outside that a step may use.

    Attributes:
        connection: the connection to the service's own database, inside the transaction.
        now: business time, by the lab clock.
        wall_ms: the wall clock, for stored deadlines.
        ids: makes ids.
        settings: the lab's settings.
        cursor: the driver's cursor, which compiled statements run on; made if not given.
        trace: the request's `traceparent`, for the events that leave; empty if it is not traced.
        deferred: writes that its group sends later; None if each write is sent at once.
        prefetched: the rows that the lookups of its group ask for, by key column and value.
        emitted: the events that leave with this transaction, each with its id.
        held: the rows that others hold, on a server that locks rows.
    """

    connection: Connection
    now: datetime
    wall_ms: int
    ids: IdMaker
    settings: Settings
    cursor: DBAPICursor = None  # type: ignore[assignment]  # made where it is not given
    trace: str = ""
    deferred: DeferredWrites | None = None
    prefetched: Mapping[Column[object], Mapping[object, Row]] = field(default_factory=dict)
    emitted: list[tuple[int, Event]] = field(default_factory=list)
    held: HeldRows | None = None

    def __post_init__(self) -> None:
        self.cursor = self.cursor or cursor_of(self.connection)

    @property
    def is_deferring(self) -> bool:
        """Return True if `expect_update`, `insert` and `insert_once` are proven only later."""
        return self.deferred is not None

    def run(self, bound: BoundStatement) -> Rows:
        """Run a statement now; it sees all that its group wrote before."""
        self._flush()
        return self._execute(self._compiled(bound), bound.values)

    def peek(self, bound: BoundStatement) -> Rows:
        """Run a query now on a table whose writes are never deferred."""
        return self._execute(self._compiled(bound), bound.values)

    def first(self, bound: BoundStatement) -> Row:
        """Return the first row of a query, its columns as attributes; None if there is none."""
        return self.run(bound).first()

    def among(
        self, query: Select[Any], column: Column[Any], wanted: Iterable[object], **values: object
    ) -> list[Row]:
        """Return the rows of a query whose column has one of some values.

        Args:
            query: a query that stands, so that it is built once.
            column: the column.
            wanted: the values.
            values: of the query's own parameters.
        """
        numbered = {str(number): value for number, value in enumerate(wanted)}
        self._flush()
        query_among = among(query, column, len(numbered), self.connection.dialect)
        return self._execute(query_among, {**values, **numbered}).rows

    def update_one(self, bound: BoundStatement) -> bool:
        """Run an update of one row now, and return True if the row was there and met the condition.

        For an update that often finds no row: see `expect_update`.
        """
        return self.run(bound).rowcount == 1

    def expect_update(self, bound: BoundStatement) -> bool:
        """Update one row that is expected to be there and to meet the condition.

        In a group the update is deferred, and True is a presumption, which the database proves
        before the commit. If it is wrong, the group is rolled back and its steps run again with
        nothing presumed, so that False comes back here. So the answer is true in every transaction
        that commits; a wrong one costs a second run.

        Returns:
            Whether one row was changed.
        """
        if not self.deferred:
            return self.update_one(bound)
        self.deferred.add(self._compiled(bound), bound.values)
        return True

    def insert(self, table: Table, /, **row: object) -> None:
        """Insert a row."""
        compiled = self._insertion(table, row)
        if self.deferred:
            self.deferred.add(compiled, row)
        else:
            self._execute(compiled, row)

    def insert_once(self, table: Table, key: Key = (), /, **row: object) -> bool:
        """Insert a row, or do nothing if its key is there already.

        Args:
            table: the table.
            key: the unique columns that are meant; the primary key if none are named.
            row: the values.

        Returns:
            Whether the key was new. In a group True is a presumption, as with `expect_update`.

        Raises:
            IntegrityError: another key of the row is taken. That is no repetition of this one, but
                a defect: perhaps an id that was made twice.
        """
        if self.deferred:
            self.insert(table, **row)
            return True
        key = key or tuple(table.primary_key)
        try:
            inserted = self._execute(self._insertion(table, row, key), row)
        except IntegrityError as error:
            if is_duplicate(error) and self._is_taken(key, row):
                return False
            raise
        return inserted.rowcount == 1

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run any other statement of SQLAlchemy Core: one with lists in it, or a rare one."""
        self._flush()
        with self._watching(statement):
            result: Any = self.connection.execute(statement, values)
        return result  # type: ignore[no-any-return]  # Core statements give cursor results

    def emit(self, event: Event) -> None:
        """Tell other services, if and only if this transaction commits (transactional outbox)."""
        self.emitted.append((self.ids.next(), event))

    def _flush(self) -> None:
        """Send the deferred writes, because the next statement must see them."""
        if self.deferred:
            self.deferred.flush()

    def _watching(self, statement: Executable) -> AbstractContextManager[None]:
        key = row_key_of(statement) if self.held is not None else None
        if self.held is None or key is None:
            return nullcontext()
        return self.held.about(key, self.connection, self.cursor)

    def _execute(self, compiled: CompiledStatement, values: Values) -> Rows:
        if self.held is None or not compiled.locks:
            return compiled.execute(self.cursor, values)
        with self.held.about(compiled.row_key(values), self.connection, self.cursor):
            return compiled.execute(self.cursor, values)

    def _compiled(self, bound: BoundStatement) -> CompiledStatement:
        return bound.statement.on(self.connection.dialect)

    def _insertion(self, table: Table, row: Values, once: Key = ()) -> CompiledStatement:
        return insertion(table, tuple(row), self.connection.dialect, once)

    def _is_taken(self, key: Key, row: Values) -> bool:
        """Return True if a row has these values of a key: MySQL's error names no columns."""
        query = row_of_key(key, self.connection.dialect)
        return query.execute(self.cursor, row).first() is not None
