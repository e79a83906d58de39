"""Tracing: what one request did in every process that it crossed, as spans.

It is off unless the lab was started with it. While it is off, a place that could make a span costs
one look at `on`: the runtime looks first, and calls the rest only if it is true.

The context travels as text, the `traceparent` of W3C Trace Context: beside a call, in a row of the
outbox, in a header of a message. So it can be handed to another thread, and outlives a crash. Empty
text means that this request is not traced, and everything after it costs nothing either.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from labkit.runtime.telemetry.kinds import Kind

if TYPE_CHECKING:
    from labkit.runtime.telemetry.spans import Span, Tracer

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

        if spans.wants_sdk():
            from labkit.runtime.telemetry import sdk

            sdk.exporters()


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


def span(name: str, kind: Kind, trace: str | None = None, **about: object) -> "Span":
    """Return a span for a `with` block: what the block does is part of it.

    Args:
        name: name of the call, step or topic.
        kind: kind of the span.
        trace: the `traceparent` that it continues; None for the span of this coroutine, or a new
            trace.
        about: `peer`, the service that is called; `order_id`; `event_id`; `topic`. Ids are text.
    """
    return _tracer.span(name, kind, trace, about)


def request(name: str, trace: str) -> "Span":
    """Return a span for the block that serves a request by HTTP.

    Args:
        name: the method and the route.
        trace: the `traceparent` that the client sent; empty if it sent none.
    """
    return _tracer.first(name, Kind.HTTP, trace, {})


def order_of(command: object) -> str:
    """Return the id of the order that a command is about; empty if it is about none."""
    return str(getattr(command, "order_id", ""))


def note(answer: object) -> None:
    """Keep the code of a `Result`, and its order, in the span of this coroutine."""
    current = _tracer.current()
    if current:
        current.note(answer)


def inject() -> str:
    """Return the `traceparent` of what this coroutine does now; empty if it is not traced."""
    current = _tracer.current() if on else None
    return current.trace if current else ""
