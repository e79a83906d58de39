"""What business code is made of: steps and flows; an event handler is a step too.

A **step** is synchronous, works in one database, in one transaction that it neither opens nor
commits. A **flow** is asynchronous and awaits steps of its own database and calls of others.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Table
from sqlalchemy.exc import IntegrityError

from labkit.results import Code, Message
from labkit.runtime.engines import is_duplicate
from labkit.runtime.ids import IdMaker
from labkit.runtime.lookahead import Lookahead
from labkit.runtime.pending import Pending
from labkit.runtime.statements import Bound, Compiled, Rows, cursor_of, insertion
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
        pending: what the transaction's group writes later; None where each write is sent at once.
        ahead: what the steps of a reading group have been found to ask first.
        surprised: whether something was not as `presume` or `presume_new` would have it.
        emitted: the events that leave with this transaction.
    """

    connection: Connection
    now: datetime
    wall_ms: int
    ids: IdMaker
    settings: Settings
    cursor: Any = None
    trace: str = ""
    pending: Pending | None = None
    ahead: Lookahead | None = None
    surprised: bool = False
    emitted: list[tuple[int, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cursor = self.cursor or cursor_of(self.connection)

    @property
    def presumes(self) -> bool:
        """Whether what `presume` and `presume_new` say is proven only by the end of the group."""
        return self.pending is not None

    def run(self, bound: Bound) -> Rows:
        """Run a statement that was built once."""
        if self.ahead and (found := self.ahead.find(bound)):
            return found
        compiled = self._compiled(bound)
        if self.pending:
            self.pending.flush(compiled.tables)
        return compiled.execute(self.cursor, bound.values)

    def one(self, bound: Bound) -> Any:
        """The first row that a query finds, its columns as attributes; None where there is none."""
        return self.run(bound).first()

    def change(self, bound: Bound) -> int:
        """Run a conditional update: how many rows met the condition and were changed."""
        return self.run(bound).rowcount

    def presume(self, bound: Bound) -> bool:
        """Run a conditional update of one row that nearly always meets the condition.

        Returns:
            Whether it did. In a group, True: the group is run again if that turns out wrong.
        """
        if not self.pending:
            return self._as_presumed(self.change(bound) == 1)
        self.pending.add(self._compiled(bound), bound.values, presumed=True)
        return True

    def note(self, bound: Bound) -> None:
        """Run an update of which nobody asks whether it changed anything."""
        if self.pending:
            self.pending.add(self._compiled(bound), bound.values, presumed=False)
        else:
            self.run(bound)

    def insert(self, table: Table, **row: Any) -> None:
        """Insert a row; in a group, together with others."""
        compiled = insertion(table, tuple(row), self.connection.dialect, once=False)
        if self.pending:
            self.pending.add(compiled, row, presumed=False)
        else:
            compiled.execute(self.cursor, row)

    def presume_new(self, table: Table, **row: Any) -> bool:
        """Insert a row whose key is nearly always new.

        Returns:
            Whether it was; where not, nothing is done. In a group, True: see `presume`. Nothing
            holds the key until then, so nothing may be looked at that relies on holding it.
        """
        if not self.pending:
            return self._as_presumed(self.insert_once(table, **row))
        self.insert(table, **row)
        return True

    def insert_once(self, table: Table, **row: Any) -> bool:
        """Insert a row now; False, and nothing done, where its key is there already."""
        if self.pending:
            self.pending.flush([table])
        compiled = insertion(table, tuple(row), self.connection.dialect, once=True)
        try:
            return compiled.execute(self.cursor, row).rowcount == 1
        except IntegrityError as error:
            if is_duplicate(error):
                return False
            raise

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run any other statement of SQLAlchemy Core: with lists in it, or seldom."""
        if self.ahead:
            self.ahead.stop_noting_step()
        if self.pending:
            self.pending.flush()
        done: Any = self.connection.execute(statement, values)
        return done  # type: ignore[no-any-return]  # Core statements give cursor results

    def emit(self, event: Event) -> None:
        """Tell other services, if and only if this transaction commits (transactional outbox)."""
        self.emitted.append((self.ids.next(), event))

    def _as_presumed(self, held: bool) -> bool:
        self.surprised = self.surprised or not held
        return held

    def _compiled(self, bound: Bound) -> Compiled:
        return bound.statement.on(self.connection.dialect)


@dataclass(frozen=True)
class Step(Generic[P, A]):
    """A business function on one database. Called directly it is the plain function.

    Attributes:
        function: the function itself.
        name: its name, which its failpoints bear.
        reads: whether it only reads; then it needs no operation key and waits for no writer.
        failed: the code with which it is refused when a failpoint refuses its commit.
    """

    function: Callable[P, A]
    name: str
    reads: bool = False
    failed: Code | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        """Run it inside a transaction that the caller holds."""
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Flow(Generic[P, A]):
    """A business function over several services, which awaits steps and calls."""

    function: Callable[P, Awaitable[A]]
    name: str

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
