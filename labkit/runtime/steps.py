"""Steps and flows, of which business code is made; an event handler is a step too.

A **step** is synchronous, works in one database, in one transaction that it neither opens nor
commits. A **flow** is asynchronous and awaits steps of its own database and calls of others.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sqlalchemy import Column

from labkit.results import Message, ResultCode

A = TypeVar("A")
C = TypeVar("C")
A_co = TypeVar("A_co", covariant=True)
C_contra = TypeVar("C_contra", contravariant=True)

#: What a step is given first: the `Transaction`, which stands on a floor above this one.
Tx = Any
#: What a flow is given first: an object of the class that is its service's `shop`.
Shop = Any


class Event(Message):
    """Something that happened, of which other services learn: sent to a topic, keyed by its order.

    Attributes:
        topic: where it is sent; topic → handler stands in the wiring table.
        tag: the kind of event within its topic.
        order_id: the order it is about; events of one order keep to one partition.
    """

    topic: ClassVar[str]
    tag: ClassVar[str] = ""

    order_id: int


@dataclass(frozen=True)
class Step(Generic[C_contra, A_co]):
    """A business function on one database. Called directly it is the plain function.

    Attributes:
        function: the function itself.
        name: its name, which its failpoints bear.
        reads: whether it only reads; then it needs no operation key and waits for no writer.
        failed: the code with which it is refused when a failpoint refuses its commit.
        key: by which a lookup finds its row.
    """

    function: Callable[[Tx, C_contra], A_co]
    name: str
    reads: bool = False
    failed: ResultCode | None = None
    key: Column[object] | None = None

    def __call__(self, tx: Tx, command: C_contra) -> A_co:
        """Run the step inside a transaction that the caller holds."""
        return self.function(tx, command)


@dataclass(frozen=True)
class Flow(Generic[C_contra, A_co]):
    """A business function over several services, which awaits steps and calls.

    Attributes:
        function: the function itself.
        name: its name.
        shared: whether a caller with the same command, while it runs, gets its answer.
    """

    function: Callable[[Shop, C_contra], Awaitable[A_co]]
    name: str
    shared: bool = True

    async def __call__(self, shop: Shop, command: C_contra) -> A_co:
        """Run the flow."""
        return await self.function(shop, command)


AnyStep = Step[Any, Any]
AnyFlow = Flow[Any, Any]
#: A step whose command is an event.
EventHandler = Step[Any, None]


class RunStep(Protocol):
    """Runs a step on a service's own database and commits it."""

    async def __call__(self, step: Step[C, A], command: C) -> A:
        """Run a step, and return its answer after the commit."""
        ...


def step(
    *, reads: bool = False, failed: ResultCode | None = None
) -> Callable[[Callable[[Tx, C], A]], Step[C, A]]:
    """Mark a function `(tx, command) -> answer` as a step."""

    def mark(function: Callable[[Tx, C], A]) -> Step[C, A]:
        return Step(function, function.__name__, reads, failed)

    return mark


def flow(function: Callable[[Shop, C], Awaitable[A]]) -> Flow[C, A]:
    """Mark a function `async (shop, command) -> answer` as a flow."""
    return Flow(function, function.__name__)


def lookup_flow(
    function: Callable[[Shop, C], Awaitable[A]],
) -> Flow[C, A]:
    """Mark a function `async (shop, query) -> answer` as a flow that says what holds.

    It is not shared: an answer that was begun before the question may no longer hold, and the
    caller may know that it does not.
    """
    return Flow(function, function.__name__, shared=False)
