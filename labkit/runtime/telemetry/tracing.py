"""Tracing: what one request did in every process that it crossed, as OpenTelemetry spans.

It is off unless the lab was started with it. While it is off, nothing of OpenTelemetry is imported,
and a place that could make a span costs one look at `on`. The runtime looks first and calls the
rest only if it is true: `if tracing.on: …`.

The context travels as text, the `traceparent` of W3C Trace Context: beside a call, in a row of the
outbox, in a header of a message. So it can be handed to another thread, and outlives a crash. Empty
text means that this request is not traced, and everything after it costs nothing either.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labkit.runtime.telemetry.kinds import Kind

if TYPE_CHECKING:
    from labkit.runtime.telemetry.spans import Span, Tracer

A = TypeVar("A")

#: Whether this process makes spans.
on = False
_tracer: "Tracer"


def warm(share: float) -> None:
    """Import what tracing needs before processes are forked, so that they share its memory.

    Args:
        share: the share of the requests that are traced; nothing is imported for 0.

    Raises:
        ValueError: an environment variable of OpenTelemetry names an exporter that is not there.
    """
    if share:
        from labkit.runtime.telemetry import spans

        spans.exporters()


def start(folder: Path, service: str, instance: int, share: float) -> None:
    """Make spans in this process from now on; after the fork, because exporters have threads.

    Args:
        folder: the home's folder of traces; the file of this process is kept in it.
        service: name of the service.
        instance: number of the instance.
        share: the share of the requests that are traced, 0 to 1; `OTEL_TRACES_SAMPLER` overrides
            it.
    """
    global on, _tracer
    if share:
        from labkit.runtime.telemetry.spans import Tracer

        _tracer = Tracer(folder, service, instance, share)
        on = True


def stop() -> None:
    """Export the spans that exporters still hold, and make no more."""
    global on
    if on:
        on = False
        _tracer.close()


def begin(name: str, kind: Kind, trace: str | None = None, **about: object) -> "Span":
    """Begin a span that the caller ends, as a thread does that has several at once.

    Args:
        name: name of the call, step or topic.
        kind: kind of the span.
        trace: the `traceparent` that it continues; None for the span of this coroutine, or a new
            trace.
        about: `peer`, the service that is called; `order_id`; `event_id`; `topic`.
    """
    return _tracer.begin(name, kind, trace, about)


@contextmanager
def span(name: str, kind: Kind, trace: str | None = None, **about: object) -> "Iterator[Span]":
    """Begin a span as `begin` does, around a block of a coroutine: what the block does is in it."""
    block = _tracer.begin(name, kind, trace, about)
    try:
        with block.current():
            yield block
    except BaseException as error:
        block.fail(error)
        raise
    block.end()


async def within(
    work: Callable[[], Awaitable[A]],
    name: str,
    kind: Kind,
    command: object,
    trace: str | None = None,
    peer: str = "",
) -> A:
    """Await work that answers a command, in a span that keeps the outcome."""
    order_id = getattr(command, "order_id", None)
    with span(name, kind, trace, peer=peer, order_id=order_id) as around:
        answer = await work()
        around.note(answer)
        return answer


def note(answer: object) -> None:
    """Keep the code of a `Result`, and its order, in the span of this coroutine."""
    _tracer.current().note(answer)


def inject() -> str:
    """Return the `traceparent` of what this coroutine does now; empty if it is not traced."""
    return _tracer.current().trace if on else ""
