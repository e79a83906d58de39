"""Spans of one process: the part of tracing that is imported if it is switched on.

OpenTelemetry's SDK made the spans before. It took 70 µs for each, half of it for itself, and an
order has 19: a lab that traced every request placed a third of the orders. So these spans are our
own, each step of making one is short, and the SDK is asked only if its own variables name an
exporter or a sampler.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any, Literal

from labkit.results import Result
from labkit.runtime.telemetry import context
from labkit.runtime.telemetry.kinds import Kind
from labkit.runtime.telemetry.span_log import SpanLog

#: Decides whether a trace that begins here is recorded: from the client's `traceparent`, which may
#: be empty, and the trace's id.
Sampler = Callable[[str, str], bool]
_current: "ContextVar[Span | None]" = ContextVar("span", default=None)
#: Writes a value as JSON.
_quoted = json.JSONEncoder().encode


class Span:
    """A span, and the block of code that it is about: what the block does is part of it.

    Args:
        tracer: writes it; None if it is not recorded, so that it costs next to nothing.
        name: of the request, call, step or topic.
        kind: of the span.
        trace_id: of its trace.
        parent: the id of the span that it is part of; empty for the first of a trace.
        about: what is known of it when it begins.

    Attributes:
        span_id: its own id.
        learnt: what is known of it only when it ends.
        began: in nanoseconds since 1970.
        ended: in nanoseconds since 1970; 0 until it ends.
    """

    def __init__(
        self,
        tracer: "Tracer | None",
        name: str = "",
        kind: Kind = Kind.STEP,
        trace_id: str = "",
        parent: str = "",
        about: Mapping[str, object] | None = None,
    ) -> None:
        self.name, self.kind, self.trace_id, self.parent = name, kind, trace_id, parent
        self.span_id = f"{random.getrandbits(64):016x}"
        self.about = about or {}
        self.learnt: dict[str, object] = {}
        self.began = self.ended = 0
        self._tracer = tracer
        self._goes_on = False
        self._before: Token[Span | None]

    @property
    def is_recorded(self) -> bool:
        """Return True if it is written; if not, nothing that it causes is written either."""
        return self._tracer is not None

    @property
    def trace(self) -> str:
        """Return the `traceparent` of whatever this span causes; empty if it is not recorded."""
        return context.traceparent(self.trace_id, self.span_id) if self._tracer else ""

    def note(self, answer: object) -> None:
        """Keep the code of a `Result`, and its order; other answers have none."""
        if isinstance(answer, Result):
            self.learnt["outcome"] = answer.name
            data = answer.data
            order = data.get("order_id") if isinstance(data, dict) else getattr(data, "order_id", 0)
            if order:
                self.learnt["order_id"] = str(order)

    def until(self, work: "asyncio.Future[Any]") -> None:
        """Let the span end when some work is done, and keep its answer, instead of with its block.

        Args:
            work: begun in the block.
        """
        self._goes_on = True
        work.add_done_callback(self._end_with)

    def _end_with(self, work: "asyncio.Future[Any]") -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if not error:
            self.note(work.result())
        self._end(error)

    def __enter__(self) -> "Span":
        self._before = _current.set(self)
        if self._tracer:
            self._tracer.begin(self)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _at: object) -> Literal[False]:
        _current.reset(self._before)
        if error or not self._goes_on:
            self._end(error)
        return False

    def _end(self, error: BaseException | None) -> None:
        if error:
            self.learnt |= {"outcome": type(error).__name__, "failed": True}
        if self._tracer:
            self._tracer.end(self)


class Tracer:
    """Makes the spans of one process; see `tracing.start`."""

    def __init__(self, folder: Path, service: str, instance: int, share: float) -> None:
        process = f"{service}-{instance}"
        who = {"service": service, "instance": process, "pid": os.getpid()}
        self._log = SpanLog(folder, process, json.dumps(who))
        self._sampled = _by_share(share)
        self._export: Callable[[Span], None] | None = None
        self.close: Callable[[], None] = lambda: None
        if wants_sdk():
            from labkit.runtime.telemetry.sdk import Sdk

            sdk = Sdk(service, instance)
            self._export, self.close = sdk.export, sdk.close
            self._sampled = sdk.sampler or self._sampled

    def span(self, name: str, kind: Kind, trace: str | None, about: Mapping[str, object]) -> Span:
        """Return a span; see `tracing.span`."""
        if trace is None:
            inside = _current.get()
            if not inside:
                return self.first(name, kind, "", about)
            if inside.is_recorded:
                return Span(self, name, kind, inside.trace_id, inside.span_id, about)
        elif context.is_sampled(trace):
            return Span(self, name, kind, context.trace_of(trace), context.span_of(trace), about)
        return Span(None)

    def first(self, name: str, kind: Kind, client: str, about: Mapping[str, object]) -> Span:
        """Return the first span of a trace in this lab; the sampler decides about all of it.

        Args:
            name: of the span.
            kind: of the span.
            client: the `traceparent` that a client sent; one that is broken counts as none.
            about: what is known of it.
        """
        parent = context.checked(client)
        trace_id = context.trace_of(parent) or f"{random.getrandbits(128):032x}"
        if not self._sampled(parent, trace_id):
            return Span(None)
        return Span(self, name, kind, trace_id, context.span_of(parent), about)

    def current(self) -> Span | None:
        """Return the span that this coroutine is in."""
        return _current.get()

    def begin(self, span: Span) -> None:
        """Write that a span begins."""
        span.began = time.time_ns()
        self._log.write(
            f'{{"span": "{span.span_id}", "trace": "{span.trace_id}", "parent": "{span.parent}", '
            f'"kind": "{span.kind}", "name": {_quoted(span.name)}, "began": {span.began}'
            f"{_fields(span.about)}}}"
        )

    def end(self, span: Span) -> None:
        """Write that a span has ended, with what is new since it began."""
        span.ended = time.time_ns()
        if "order_id" in span.learnt:  # who looks for an order finds its trace here
            span.learnt["trace"] = span.trace_id
        self._log.write(
            f'{{"span": "{span.span_id}", "ended": {span.ended}{_fields(span.learnt)}}}'
        )
        if self._export:
            with suppress(Exception):  # what an exporter makes of it is no matter of the order
                self._export(span)


def wants_sdk() -> bool:
    """Return True if a variable of OpenTelemetry's own asks for an exporter or a sampler."""
    names = ("OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER")
    return any(os.environ.get(name, "none") not in ("", "none") for name in names)


def _fields(values: Mapping[str, object]) -> str:
    """Write what there is as further fields of a JSON object."""
    return "".join([f', "{key}": {_quoted(value)}' for key, value in values.items() if value])


def _by_share(share: float) -> Sampler:
    """Follow a client that has decided; of the others record a share, by the trace's id."""
    most = int(share * 2**64)
    return lambda client, trace: (
        context.is_sampled(client) if client else int(trace[16:], 16) < most
    )
