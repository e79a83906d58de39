"""The parts of a service, as data; from them follows every boundary that it can cross."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from labkit.results import Result
from labkit.runtime.evolution import Upcasts
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.messaging import addresses, dead_letters, forgetting, inbox, outbox
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.deadlines import Deadline
from labkit.runtime.rpc.contract import calls_of, methods_of
from labkit.runtime.steps import AnyFlow, AnyStep, Event, EventHandler, Flow, Step

_RUNTIME_STEPS = (
    outbox.claim_unsent,
    outbox.claim_unsettled,
    outbox.mark_sent,
    outbox.mark_settled,
    outbox.mark_missing,
    outbox.postpone,
    outbox.hurry,
    addresses.readdress,
    inbox.keep_failure,
    dead_letters.give_up,
    dead_letters.take_back,
    forgetting.forget_settled,
    forgetting.forget_handled,
)
#: The names of the steps by which the runtime looks after its messages.
HOUSEKEEPING = frozenset(step.name for step in _RUNTIME_STEPS)


@dataclass(frozen=True)
class Service:
    """One kind of process and all that it does: a line of the wiring table.

    Attributes:
        name: of the service, its database and its consumer group.
        contract: the calls that it answers, with the step or flow behind each; None for a web.
        shop: the class of the first argument of its flows: its fields are `run`, `settings`, the
            names in `calls`, and whatever else concerns systems outside; None without flows.
        handlers: event type → the step that handles it.
        steps: further steps that its flows run.
        sweeps: flows that run again and again.
        manual_steps: `give_up` and `take_back` → the step that does it with a stuck item of this
            service that is no event.
        deadlines: the columns of its own tables that say when something is tried again.
        calls: field of `shop` → contract of another service.
        unused_calls: methods of those contracts that its flows do not call.
        emits: the events that its steps emit.
        notifies: what it posts to others over HTTP, again and again until they have answered.
        answers: the requests from outside that have a failpoint before their answer.
        upcasts: message → version → what makes the next version of it.
    """

    name: str
    contract: type | None = None
    shop: Callable[..., object] | None = None
    handlers: Mapping[type[Event], EventHandler] = field(default_factory=dict)
    steps: tuple[AnyStep, ...] = ()
    sweeps: tuple[Flow[None, None], ...] = ()
    manual_steps: Mapping[str, Step[StuckItem, Result[None]]] = field(default_factory=dict)
    deadlines: tuple[Deadline, ...] = ()
    calls: Mapping[str, type] = field(default_factory=dict)
    unused_calls: tuple[str, ...] = ()
    emits: tuple[type[Event], ...] = ()
    notifies: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    upcasts: Upcasts = field(default_factory=dict)

    @property
    def methods(self) -> Mapping[str, AnyStep | AnyFlow]:
        """Return the step or flow behind each call of the contract."""
        calls = calls_of(self.contract) if self.contract else {}
        return {name: call.function for name, call in calls.items()}

    def topics(self) -> tuple[str, ...]:
        """Return the topics that the service may send to, dead letters included."""
        dead_letter = (inbox.DeadLetter,) if self.handlers else ()
        return tuple(event.topic for event in (*self.emits, *dead_letter))


def failpoints_of(service: Service) -> list[Failpoint]:
    """Return every boundary that a service can cross, in a fixed order."""
    return [Failpoint(service.name, step, boundary) for step, boundary in _boundaries(service)]


def _further(service: Service) -> Iterator[AnyStep]:
    """Yield the steps that are behind no call of the contract."""
    yield from (*service.steps, *service.manual_steps.values(), *service.handlers.values())


def _boundaries(service: Service) -> Iterator[tuple[str, str]]:
    steps = {method.name: method for method in service.methods.values() if isinstance(method, Step)}
    steps |= {step.name: step for step in _further(service)}
    runtime = _RUNTIME_STEPS if service.contract else ()
    crossed = {
        "commit": [step.name for step in (*steps.values(), *runtime) if not step.reads],
        "call": [
            name
            for contract in service.calls.values()
            for name in methods_of(contract)
            if name not in service.unused_calls
        ],
        "send": service.topics(),
        "offset": [event.topic for event in service.handlers],
        "notify": service.notifies,
        "answer": service.answers,
    }
    for kind, names in crossed.items():
        for name in names:
            yield from ((name, boundary) for boundary in KINDS[kind])
