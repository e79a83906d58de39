"""Jobs: steps that wait for a database to run them, and what every transaction there is given."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit.runtime.clock import BusinessClock
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import AnyStep, Event
from labkit.settings import Settings

#: An event that was committed: its id, the event, and the `traceparent` of the step.
Emitted = tuple[int, Event, str]

#: How long a step waits for a held row, run again every now and then, while all others go on.
_HELD_S = 2.0
#: How long before its time is over the caller of a step that waits for a row is answered.
_ANSWER_S = 0.1


@dataclass(frozen=True)
class TransactionDefaults:
    """The things that a database gives to every transaction, or calls after each commit.

    Attributes:
        service: name of the service.
        clock: the lab clock.
        ids: makes ids.
        settings: the lab's settings.
        failpoints: the failpoints of the process.
        write_outbox: writes the events of a transaction to its outbox.
        committed: is called with the events of each commit.
    """

    service: str
    clock: BusinessClock
    ids: IdMaker
    settings: Settings
    failpoints: Failpoints
    write_outbox: Callable[[Transaction], None]
    committed: Callable[[list[Emitted]], None]


@dataclass
class Job:
    """A step that was asked for.

    Attributes:
        step: the step.
        command: the command that it is run with.
        answer: the future of its answer, after the commit.
        expires: when nobody waits for it any more, by the monotonic clock.
        trace: the request's `traceparent`; empty if it is not traced.
        crossed: whether a failpoint has acted on it; then no other does.
        held_since: when it met a held row first, by the monotonic clock; 0 if it did not.
    """

    step: AnyStep
    command: object
    answer: asyncio.Future[Any]
    expires: float = float("inf")
    trace: str = ""
    crossed: bool = False
    held_since: float = 0.0

    @property
    def held_until(self) -> float:
        """Return when a step that met a held row is answered with that, at the latest."""
        return min(self.expires - _ANSWER_S, self.held_since + _HELD_S)


#: The results of some jobs: each with its answer, or with the exception that was raised.
JobResults = list[tuple[Job, object]]
Deliver = Callable[[JobResults], None]
