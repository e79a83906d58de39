"""What a step works with: one local transaction, and what it may use from outside."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, CursorResult, Executable, Table
from sqlalchemy.exc import IntegrityError

from labkit.runtime.db.deferred import DeferredWrites
from labkit.runtime.db.engines import is_duplicate
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.statements import (
    BoundStatement,
    CompiledStatement,
    Key,
    Rows,
    cursor_of,
    insertion,
    row_key_of,
    row_of_key,
)
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import Event
from labkit.settings import Settings


@dataclass
class Transaction:
    """One local transaction, and everything from outside that a step may use.

    Attributes:
        connection: of the service's own database, inside the transaction.
        now: business time, by the lab clock.
        wall_ms: the wall clock, for stored deadlines.
        ids: makes ids.
        settings: the lab's settings.
        cursor: the driver's, which statements that were built once run on; made where not given.
        trace: of the request, as text, for the events that leave; empty where it is not traced.
        pending: what its group writes later; None where each write is sent at once.
        found: what the lookups of its group have found, by key and value.
        emitted: the events that leave with this transaction.
        held: rows that are held, on a server that locks rows.
    """

    connection: Connection
    now: datetime
    wall_ms: int
    ids: IdMaker
    settings: Settings
    cursor: Any = None
    trace: str = ""
    pending: DeferredWrites | None = None
    found: Mapping[Column[Any], Mapping[Any, Any]] = field(default_factory=dict)
    emitted: list[tuple[int, Event]] = field(default_factory=list)
    held: HeldRows | None = None

    def __post_init__(self) -> None:
        self.cursor = self.cursor or cursor_of(self.connection)

    @property
    def presumes(self) -> bool:
        """Whether what `change` and `insert_once` say is proven only later."""
        return self.pending is not None

    def run(self, bound: BoundStatement) -> Rows:
        """Run a statement that was built once; it sees all that its group wrote before."""
        self._send()
        return self._do(self._compiled(bound), bound.values)

    def one(self, bound: BoundStatement) -> Any:
        """The first row that a query finds, its columns as attributes; None where there is none."""
        return self.run(bound).first()

    def change(self, bound: BoundStatement) -> bool:
        """Run an update of one row.

        Returns:
            Whether the row is there and met the condition. A group takes that for granted, and is
            run again where it turns out wrong: see `pending`. Where it is often so, use `run`.
        """
        if not self.pending:
            return self.run(bound).rowcount == 1
        self.pending.add(self._compiled(bound), bound.values)
        return True

    def insert(self, table: Table, **row: Any) -> None:
        """Insert a row."""
        compiled = self._insertion(table, row)
        if self.pending:
            self.pending.add(compiled, row)
        else:
            self._do(compiled, row)

    def insert_once(self, table: Table, key: Key = (), /, **row: Any) -> bool:
        """Insert a row, or do nothing where its key is there already.

        Args:
            table: where.
            key: the unique columns that are meant; the primary key where none are named.
            row: the values.

        Returns:
            Whether the key was new. A group takes that for granted too.

        Raises:
            IntegrityError: another key of the row is taken. That is no repetition of this one, but
                a defect: perhaps an id that was made twice.
        """
        if self.pending:
            self.insert(table, **row)
            return True
        key = key or tuple(table.primary_key)
        try:
            done = self._do(self._insertion(table, row, key), row)
        except IntegrityError as error:
            if is_duplicate(error) and self._is_taken(key, row):
                return False
            raise
        return done.rowcount == 1

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run any other statement of SQLAlchemy Core: with lists in it, or seldom."""
        self._send()
        with self._watching(statement):
            done: Any = self.connection.execute(statement, values)
        return done  # type: ignore[no-any-return]  # Core statements give cursor results

    def emit(self, event: Event) -> None:
        """Tell other services, if and only if this transaction commits (transactional outbox)."""
        self.emitted.append((self.ids.next(), event))

    def _send(self) -> None:
        """Whoever asks, asks what holds: what waits is written first."""
        if self.pending:
            self.pending.flush()

    def _watching(self, statement: Executable) -> AbstractContextManager[None]:
        key = row_key_of(statement) if self.held is not None else None
        if self.held is None or key is None:
            return nullcontext()
        return self.held.about(key, self.connection, self.cursor)

    def _do(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> Rows:
        if self.held is None or not compiled.locks:
            return compiled.execute(self.cursor, values)
        with self.held.about(compiled.row_key(values), self.connection, self.cursor):
            return compiled.execute(self.cursor, values)

    def _compiled(self, bound: BoundStatement) -> CompiledStatement:
        return bound.statement.on(self.connection.dialect)

    def _insertion(self, table: Table, row: Mapping[str, Any], once: Key = ()) -> CompiledStatement:
        return insertion(table, tuple(row), self.connection.dialect, once)

    def _is_taken(self, key: Key, row: Mapping[str, Any]) -> bool:
        """Return True if a row has these values of a key: MySQL's error names no columns."""
        found = row_of_key(key, self.connection.dialect).execute(self.cursor, row)
        return found.first() is not None
