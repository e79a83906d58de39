"""What waits for a database to run it, and what every transaction there is handed."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from labkit.runtime.clock import LabClock
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import Event, Step
from labkit.settings import Settings


@dataclass(frozen=True)
class TransactionDefaults:
    """What a database hands to every transaction, and tells after each commit."""

    service: str
    clock: LabClock
    ids: IdMaker
    settings: Settings
    failpoints: Failpoints
    write_outbox: Callable[[Transaction], None]
    committed: Callable[[list[tuple[int, Event, str]]], None]


@dataclass
class Job:
    """A step that was asked for.

    Attributes:
        step: the step.
        command: what it is asked to do.
        answer: where its answer goes, after the commit; a future of a thread or of the loop.
        expires: when nobody waits for it any more, by the monotonic clock.
        trace: of the request, as text; empty where it is not traced.
        crossed: whether a failpoint has acted on it; then no other does.
        held_since: when it met a held row first, by the monotonic clock; 0 where it did not.
    """

    step: Step[Any, Any]
    command: Any
    answer: Any = field(default_factory=Future)
    expires: float = float("inf")
    trace: str = ""
    crossed: bool = False
    held_since: float = 0.0


#: What became of some works: each with its answer, or with what was raised.
JobResults = list[tuple[Job, Any]]
