"""What business code is made of: steps and flows; an event handler is a step too.

A **step** is synchronous, works in one database, in one transaction that it neither opens nor
commits. A **flow** is asynchronous and awaits steps of its own database and calls of others.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from sqlalchemy import Column, Connection, CursorResult, Executable, Table
from sqlalchemy.exc import IntegrityError

from labkit.results import Code, Message
from labkit.runtime.engines import is_duplicate
from labkit.runtime.held_rows import HeldRows
from labkit.runtime.ids import IdMaker
from labkit.runtime.pending import Pending
from labkit.runtime.statements import (
    Bound,
    Compiled,
    Key,
    Rows,
    cursor_of,
    insertion,
    row_key_of,
    row_of_key,
)
from labkit.settings import Settings

A = TypeVar("A")
P = ParamSpec("P")


class Unknown(Exception):
    """No answer came in time. The work may have been done, may still be done, or never."""


class Event(Message):
    """Something that happened, told to other services: sent to a topic, keyed by its order.

    Attributes:
        topic: where it is sent; topic → handler stands in the wiring table.
        tag: what kind of event it is within its topic.
        order_id: the order it is about; events of one order keep to one partition.
    """

    topic: ClassVar[str]
    tag: ClassVar[str] = ""

    order_id: int


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
    pending: Pending | None = None
    found: Mapping[Column[Any], Mapping[Any, Any]] = field(default_factory=dict)
    emitted: list[tuple[int, Event]] = field(default_factory=list)
    held: HeldRows | None = None

    def __post_init__(self) -> None:
        self.cursor = self.cursor or cursor_of(self.connection)

    @property
    def presumes(self) -> bool:
        """Whether what `change` and `insert_once` say is proven only later."""
        return self.pending is not None

    def run(self, bound: Bound) -> Rows:
        """Run a statement that was built once; it sees all that its group wrote before."""
        self._send()
        return self._do(self._compiled(bound), bound.values)

    def one(self, bound: Bound) -> Any:
        """The first row that a query finds, its columns as attributes; None where there is none."""
        return self.run(bound).first()

    def change(self, bound: Bound) -> bool:
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

    def _do(self, compiled: Compiled, values: Mapping[str, Any]) -> Rows:
        if self.held is None or not compiled.locks:
            return compiled.execute(self.cursor, values)
        with self.held.about(compiled.row_key(values), self.connection, self.cursor):
            return compiled.execute(self.cursor, values)

    def _compiled(self, bound: Bound) -> Compiled:
        return bound.statement.on(self.connection.dialect)

    def _insertion(self, table: Table, row: Mapping[str, Any], once: Key = ()) -> Compiled:
        return insertion(table, tuple(row), self.connection.dialect, once)

    def _is_taken(self, key: Key, row: Mapping[str, Any]) -> bool:
        """Return True if a row has these values of a key: MySQL's error names no columns."""
        found = row_of_key(key, self.connection.dialect).execute(self.cursor, row)
        return found.first() is not None


@dataclass(frozen=True)
class Step(Generic[P, A]):
    """A business function on one database. Called directly it is the plain function.

    Attributes:
        function: the function itself.
        name: its name, which its failpoints bear.
        reads: whether it only reads; then it needs no operation key and waits for no writer.
        failed: the code with which it is refused when a failpoint refuses its commit.
        key: by which a lookup finds its row.
    """

    function: Callable[P, A]
    name: str
    reads: bool = False
    failed: Code | None = None
    key: Column[Any] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        """Run it inside a transaction that the caller holds."""
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Flow(Generic[P, A]):
    """A business function over several services, which awaits steps and calls.

    Attributes:
        function: the function itself.
        name: its name.
        shared: whether who asks for the same while it runs waits for the same answer.
    """

    function: Callable[P, Awaitable[A]]
    name: str
    shared: bool = True

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        """Run it."""
        return await self.function(*args, **kwargs)


def step(
    *, reads: bool = False, failed: Code | None = None
) -> Callable[[Callable[P, A]], Step[P, A]]:
    """Mark a function `(tx, command) -> answer` as a step."""

    def mark(function: Callable[P, A]) -> Step[P, A]:
        return Step(function, function.__name__, reads, failed)

    return mark


def flow(function: Callable[P, Awaitable[A]]) -> Flow[P, A]:
    """Mark a function `async (shop, command) -> answer` as a flow."""
    return Flow(function, function.__name__)


def looking_flow(function: Callable[P, Awaitable[A]]) -> Flow[P, A]:
    """Mark a function `async (shop, query) -> answer` as a flow that says what holds.

    Who asks is never told what held when somebody else asked before: it may be over, and known to
    be over by who asks now.
    """
    return Flow(function, function.__name__, shared=False)
