"""Spans of one process: the part of tracing that imports OpenTelemetry, if it is switched on."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from pathlib import Path

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from labkit.results import Result
from labkit.runtime.telemetry.kinds import Kind
from labkit.runtime.telemetry.span_log import SpanLog

_KINDS = {
    Kind.CALL: SpanKind.CLIENT,
    Kind.SERVE: SpanKind.SERVER,
    Kind.STEP: SpanKind.INTERNAL,
    Kind.SEND: SpanKind.PRODUCER,
    Kind.RECEIVE: SpanKind.CONSUMER,
}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_TEXT = TraceContextTextMapPropagator()
_UNTRACED = NonRecordingSpan(SpanContext(trace_id=1, span_id=1, is_remote=True))


class Span:
    """A span around OpenTelemetry's; one that is not recorded costs next to nothing."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    @property
    def trace(self) -> str:
        """Return the `traceparent` of whatever this span causes; empty if it is not traced."""
        context = self._span.get_span_context()
        if not context.trace_flags.sampled:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def current(self) -> AbstractContextManager[otel.Span]:
        """Make whatever this coroutine does in a block part of the span."""
        return otel.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def note(self, answer: object) -> None:
        """Keep the code of a `Result`, and its order; other answers have none."""
        if isinstance(answer, Result):
            self._span.set_attribute("labkit.outcome", answer.name)
            data = answer.data
            order = data.get("order_id") if isinstance(data, dict) else getattr(data, "order_id", 0)
            if order:
                self._span.set_attribute("labkit.order_id", str(order))

    def fail(self, error: BaseException) -> None:
        """End the span with an error."""
        self._span.set_attribute("labkit.outcome", type(error).__name__)
        self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()

    def end(self) -> None:
        """End the span."""
        self._span.end()


class Tracer:
    """Makes the spans of one process; see `tracing.start`."""

    def __init__(self, folder: Path, service: str, instance: int, share: float) -> None:
        resource = {
            "service.namespace": "labkit",
            "service.name": service,
            "service.instance.id": f"{service}-{instance}",
        }
        by_environment = "OTEL_TRACES_SAMPLER" in os.environ
        sampler = None if by_environment else sampling.ParentBasedTraceIdRatio(share)
        self._provider = TracerProvider(sampler, Resource.create(resource), shutdown_on_exit=False)
        self._provider.add_span_processor(SpanLog(folder, service, instance))
        for exporter in exporters():
            self._provider.add_span_processor(BatchSpanProcessor(exporter()))
        otel.set_tracer_provider(self._provider)  # FastAPI makes the spans of HTTP requests
        self._tracer = self._provider.get_tracer("labkit")

    def begin(self, name: str, kind: Kind, trace: str | None, about: Mapping[str, object]) -> Span:
        """Begin a span; see `tracing.begin`."""
        parent = self.current() if trace is None else _parent(trace)
        context = parent._span.get_span_context()
        if context.is_valid and not context.trace_flags.sampled:
            return parent
        attributes = {f"labkit.{key}": str(value) for key, value in about.items() if value}
        return Span(
            self._tracer.start_span(
                name,
                otel.set_span_in_context(parent._span),
                _KINDS[kind],
                {"labkit.kind": kind, **attributes},
            )
        )

    def current(self) -> Span:
        """Return the span that this coroutine is in, whoever made it."""
        return Span(otel.get_current_span())

    def close(self) -> None:
        """Export the spans that exporters still hold."""
        self._provider.shutdown()


def exporters() -> list[type[SpanExporter]]:
    """Load the exporters that OpenTelemetry's own environment variables ask for.

    `OTEL_TRACES_EXPORTER` names them, separated by commas; `otlp` goes by HTTP unless
    `OTEL_EXPORTER_OTLP_PROTOCOL` says `grpc`.

    Raises:
        ValueError: one is not installed.
    """
    classes = []
    names = os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")
    for name in filter(lambda name: name not in ("", "none"), map(str.strip, names)):
        group = entry_points(group="opentelemetry_traces_exporter", name=_registered(name))
        if not group:
            raise ValueError(f"OTEL_TRACES_EXPORTER={name}: no such exporter is installed")
        classes.append(next(iter(group)).load())
    return classes


def _registered(name: str) -> str:
    """Return the registered name of an exporter: `otlp` stands for one of two, by the protocol."""
    if name != "otlp":
        return name
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "http/protobuf")
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"


def _parent(trace: str) -> Span:
    """Return the span that a `traceparent` names; one that is empty or broken is not traced."""
    context = _TEXT.extract({"traceparent": trace}) if trace else None
    named = otel.get_current_span(context)
    return Span(named if trace and named.get_span_context().is_valid else _UNTRACED)
