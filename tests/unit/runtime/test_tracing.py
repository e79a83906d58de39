"""Spans of one process: off costs nothing; on, the context crosses threads and crashes as text."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.results import Message, Result
from labkit.runtime.errors import Unknown
from labkit.runtime.telemetry import span_log, tracing
from labkit.runtime.telemetry.kinds import Kind
from labkit.shop.codes import Code

ORDER = 383026413512351744
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


_UNTRACED = ("", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", f"{TRACE[:-1]}0")


class Command(Message):
    order_id: int = ORDER


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Tracing is on in this process, and its spans lie here."""
    yield from _traced(tmp_path)


@pytest.fixture
def unsampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Tracing is on, and OpenTelemetry's own variable says that nothing is sampled."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    yield from _traced(tmp_path)


def _traced(folder: Path) -> Iterator[Path]:
    tracing.start(folder, "goods", 1, 1.0)
    yield folder
    tracing.stop()


def spans(folder: Path) -> dict[str, dict[str, Any]]:
    """name → span, as the diary has it; its end stands after its beginning."""
    text = (folder / "goods-1.jsonl").read_text()
    return {span["name"]: span for span in map(json.loads, text.splitlines())}


def test_off_imports_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """A process that was not asked to trace has no SDK in memory, makes no span and no file."""
    script = f"""if True:
        import sys, asyncio, pathlib
        from labkit.stack.supervisor import service_process as process, supervisor
        from labkit.runtime.telemetry import tracing
        tracing.warm(0.0)
        tracing.start(pathlib.Path({str(tmp_path)!r}), "goods", 1, 0.0)
        assert not tracing.on and tracing.inject() == ""
        tracing.stop()
        assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
        """
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_call_is_served_and_says_what_came_of_it(folder: Path) -> None:
    """Caller and callee are one trace, joined by text alone; code and order stand in both."""

    async def serve() -> Result[None]:
        return Result[None].refused(Code.STOCK_SHORT, "none is left")

    async def call() -> Result[None]:
        trace = tracing.inject()
        command = Command()
        return await asyncio.create_task(
            tracing.within(serve, "deduct_stock", Kind.SERVE, command, trace)
        )

    traced_call = tracing.within(call, "take", Kind.CALL, Command(), peer="goods")
    asyncio.run(traced_call)
    caller, callee = spans(folder)["take"], spans(folder)["deduct_stock"]
    assert callee["parent"] == caller["span"]
    assert callee["trace"] == caller["trace"]
    assert {span["outcome"] for span in (caller, callee)} == {"STOCK_SHORT"}
    assert {span["order_id"] for span in (caller, callee)} == {str(ORDER)}
    assert (caller["peer"], caller["kind"], callee["kind"]) == ("goods", "call", "serve")


def test_the_context_crosses_a_thread(folder: Path) -> None:
    """A thread that has several spans at once, each continuing another trace, mixes none up."""
    traces = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]

    def work() -> None:
        begun = [tracing.begin(trace[-4:], Kind.RECEIVE, trace) for trace in traces]
        for span, trace in zip(begun, traces, strict=True):
            assert span.trace[:36] == trace[:36]
            span.end()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert {span["parent"] for span in spans(folder).values()} == {trace[36:52] for trace in traces}


def test_an_answer_that_did_not_come(folder: Path) -> None:
    """A step that raises is a failed span with the error's name, and the error goes on."""

    async def ask() -> None:
        raise Unknown("no answer came")

    with pytest.raises(Unknown):
        asyncio.run(tracing.within(ask, "find_goods", Kind.CALL, Command(), peer="goods"))
    span = spans(folder)["find_goods"]
    assert (span["failed"], span["outcome"]) == (True, "Unknown")


def test_what_is_under_way_is_written_down(folder: Path) -> None:
    """A span stands in the diary before it ends: a process that is killed leaves it behind."""
    span = tracing.begin("deduct_stock", Kind.SERVE, TRACE)
    assert spans(folder)["deduct_stock"]["ended"] is None
    span.end()
    assert spans(folder)["deduct_stock"]["ended"]


def test_a_sweeper_begins_a_trace(folder: Path) -> None:
    """A step outside any request is the beginning of a trace, whose events continue it."""
    with tracing.span("cancel_expired", Kind.STEP, order_id=ORDER) as span:
        assert tracing.inject() == span.trace != ""
    assert spans(folder)["cancel_expired"]["parent"] == ""


@pytest.mark.parametrize(
    "trace", ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", TRACE[:-1] + "0"]
)
def test_what_is_not_traced_causes_nothing_that_is(trace: str, folder: Path) -> None:
    """A call without a readable, sampled context makes no span, nor does anything it does."""
    with tracing.span("deduct_stock", Kind.SERVE, trace):
        assert tracing.inject() == ""
        with tracing.span("step", Kind.STEP) as inner:
            assert inner.trace == ""
    assert spans(folder) == {}


def test_the_sampler_is_opentelemetrys_own(unsampled: Path) -> None:
    """`OTEL_TRACES_SAMPLER` decides; a caller who is sampled already is followed."""
    with tracing.span("cancel_expired", Kind.STEP):
        assert tracing.inject() == ""
    tracing.begin("deduct_stock", Kind.SERVE, TRACE).end()
    assert list(spans(unsampled)) == ["deduct_stock"]


def test_the_diary_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file becomes the old one; older spans than those are gone."""
    monkeypatch.setattr(span_log, "_MAX_BYTES", 4000)
    for number in range(40):
        tracing.begin(f"step {number}", Kind.STEP).end()
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert set(sizes) == {"goods-1.jsonl", "goods-1.old"}
    assert max(sizes.values()) < 5000
    assert "step 39" in spans(folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_full_disk_costs_nothing_but_the_picture(tmp_path: Path) -> None:
    """A span that cannot be written is lost, and what it tells of goes on."""
    (tmp_path / "goods-1.jsonl").symlink_to("/dev/full")
    for _ in _traced(tmp_path):
        with tracing.span("find_goods", Kind.STEP) as span:
            assert span.trace


def test_an_exporter_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no installed package answers to is refused before anything starts."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp, pigeon")
    with pytest.raises(ValueError, match="OTEL_TRACES_EXPORTER=pigeon"):
        tracing.warm(1.0)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    tracing.warm(1.0)
