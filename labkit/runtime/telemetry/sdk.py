"""OpenTelemetry's SDK, where its own variables ask for it: its exporters, and its samplers."""

import os
import threading
from functools import partial
from importlib.metadata import entry_points

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from labkit.runtime.telemetry import context
from labkit.runtime.telemetry.kinds import Kind
from labkit.runtime.telemetry.spans import Sampler, Span

_KINDS = {
    Kind.HTTP: SpanKind.SERVER,
    Kind.CALL: SpanKind.CLIENT,
    Kind.SERVE: SpanKind.SERVER,
    Kind.STEP: SpanKind.INTERNAL,
    Kind.SEND: SpanKind.PRODUCER,
    Kind.RECEIVE: SpanKind.CONSUMER,
}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class _Ids(RandomIdGenerator, threading.local):
    """Gives each span of the SDK the ids of ours."""

    trace = span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class Sdk:
    """The exporters and the sampler that the environment asks for.

    Args:
        service: name of the service.
        instance: number of the instance.

    Attributes:
        sampler: decides which traces are recorded; None if the environment names none.

    Raises:
        ValueError: an exporter is not installed.
    """

    def __init__(self, service: str, instance: int) -> None:
        resource = {
            "service.namespace": "labkit",
            "service.name": service,
            "service.instance.id": f"{service}-{instance}",
        }
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampling.ALWAYS_ON,  # what comes here was sampled already
            Resource.create(resource),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        for exporter in exporters():
            self._provider.add_span_processor(BatchSpanProcessor(exporter()))
        self._tracer = self._provider.get_tracer("labkit")
        self.close = self._provider.shutdown
        self.sampler: Sampler | None = None
        if os.environ.get("OTEL_TRACES_SAMPLER"):
            self.sampler = partial(_is_sampled, TracerProvider(shutdown_on_exit=False).sampler)

    def export(self, span: Span) -> None:
        """Hand a span that has ended to the exporters."""
        self._ids.trace, self._ids.span = int(span.trace_id, 16), int(span.span_id, 16)
        parent = context.traceparent(span.trace_id, span.parent) if span.parent else ""
        about = {"kind": span.kind, **span.about, **span.learnt}
        exported = self._tracer.start_span(
            span.name,
            _place(parent),
            _KINDS[span.kind],
            {f"labkit.{key}": str(value) for key, value in about.items() if value},
            start_time=span.began,
        )
        if span.learnt.get("failed"):
            exported.set_status(StatusCode.ERROR, str(span.learnt.get("outcome", "")))
        exported.end(span.ended)


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


def _is_sampled(sampler: sampling.Sampler, client: str, trace: str) -> bool:
    decision = sampler.should_sample(_place(client), int(trace, 16), "request").decision
    return decision is sampling.Decision.RECORD_AND_SAMPLE


def _place(traceparent: str) -> Context | None:
    """Return the SDK's context for a `traceparent`; none if it is empty."""
    if not traceparent:
        return None
    trace, span = context.trace_of(traceparent), context.span_of(traceparent)
    flags = TraceFlags.SAMPLED if context.is_sampled(traceparent) else TraceFlags.DEFAULT
    place = SpanContext(
        int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(flags)
    )
    return otel.set_span_in_context(NonRecordingSpan(place))
