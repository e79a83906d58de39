"""Spans of one process: off costs nothing; on, the context crosses threads and crashes as text."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

from labkit.ops.trace.reading import read_spans
from labkit.ops.trace.tree import Span
from labkit.results import Message, Result
from labkit.runtime.errors import Unknown
from labkit.runtime.telemetry import span_log, tracing
from labkit.runtime.telemetry.kinds import Kind
from labkit.shop.codes import Code

ORDER = 383026413512351744
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


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


def spans(folder: Path) -> dict[str, Span]:
    """name → span, as the log has it."""
    return {span["name"]: span for span in read_spans(folder)}


def test_off_imports_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """A process that was not asked to trace has no SDK in memory, makes no span and no file."""
    script = f"""if True:
        import sys, asyncio, pathlib
        from labkit.stack.supervisor import service_process as process, supervisor
        process.load_all()
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

    refused = Result[None].refused(Code.STOCK_SHORT, "none is left")
    order = tracing.order_of(Command())

    async def serve(trace: str) -> "asyncio.Future[Result[None]]":
        work = asyncio.get_running_loop().create_future()
        with tracing.span("deduct_stock", Kind.SERVE, trace, order_id=order) as span:
            span.until(work)
        work.set_result(refused)
        return work

    async def call() -> None:
        with tracing.span("take", Kind.CALL, peer="goods", order_id=order) as span:
            span.note(await (await serve(tracing.inject())))

    asyncio.run(call())
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
        with ExitStack() as stack:
            for trace in traces:
                span = stack.enter_context(tracing.span(trace[-4:], Kind.RECEIVE, trace))
                assert span.trace[:36] == trace[:36]

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert {span["parent"] for span in spans(folder).values()} == {trace[36:52] for trace in traces}


def test_an_answer_that_did_not_come(folder: Path) -> None:
    """A step that raises is a failed span with the error's name, and the error goes on."""

    async def ask() -> None:
        with tracing.span("find_goods", Kind.CALL, peer="goods"):
            raise Unknown("no answer came")

    with pytest.raises(Unknown):
        asyncio.run(ask())
    span = spans(folder)["find_goods"]
    assert (span["failed"], span["outcome"]) == (True, "Unknown")


def test_what_is_under_way_is_written_down(folder: Path) -> None:
    """A span stands in the diary before it ends: a process that is killed leaves it behind."""
    with tracing.span("deduct_stock", Kind.SERVE, TRACE):
        assert spans(folder)["deduct_stock"]["ended"] is None
    assert spans(folder)["deduct_stock"]["ended"]


def test_a_sweeper_begins_a_trace(folder: Path) -> None:
    """A step outside any request is the beginning of a trace, whose events continue it."""
    with tracing.span("cancel_expired", Kind.STEP, order_id=ORDER) as span:
        assert tracing.inject() == span.trace != ""
    assert spans(folder)["cancel_expired"]["parent"] == ""


@pytest.mark.parametrize("trace", ["", "nonsense", TRACE[:-1] + "0", TRACE[:-1] + "e-more"])
def test_what_is_not_traced_causes_nothing_that_is(trace: str, folder: Path) -> None:
    """A call without a readable, sampled context makes no span, nor does anything it does."""
    with tracing.span("deduct_stock", Kind.SERVE, trace):
        assert tracing.inject() == ""
        with tracing.span("step", Kind.STEP) as inner:
            assert inner.trace == ""
    assert spans(folder) == {}


@pytest.mark.parametrize(
    "trace", ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", f"ff{TRACE[2:]}"]
)
def test_a_request_with_a_broken_context_begins_a_trace(trace: str, folder: Path) -> None:
    """What a client sends is checked: a context that W3C forbids counts as none."""
    with tracing.request("POST /order/confirm", trace):
        assert tracing.inject()[3:35] not in trace
    assert spans(folder)["POST /order/confirm"]["parent"] == ""


def test_a_client_decides_for_its_own_trace(folder: Path) -> None:
    """A request continues the client's trace, or is silent where the client says so."""
    for flags in ("01", "00", "03-later"):
        with tracing.request(f"GET {flags}", TRACE[:-2] + flags):
            pass
    assert {name: span["trace"] for name, span in spans(folder).items()} == {
        "GET 01": "ab" * 16,
        "GET 03-later": "ab" * 16,
    }


def test_a_share_of_the_traces_is_recorded(tmp_path: Path) -> None:
    """Of many traces about the share is there, each whole or not at all."""
    tracing.start(tmp_path, "goods", 1, 0.25)
    for number in range(400):
        with tracing.span(f"outer {number}", Kind.STEP), tracing.span(f"inner {number}", Kind.STEP):
            pass
    tracing.stop()
    names = set(spans(tmp_path))
    outer = {name.split()[1] for name in names if name.startswith("outer")}
    assert {name.split()[1] for name in names if name.startswith("inner")} == outer
    assert 50 < len(outer) < 150  # 100, give or take more than five standard deviations


def test_the_sampler_is_opentelemetrys_own(unsampled: Path) -> None:
    """`OTEL_TRACES_SAMPLER` decides; a caller who is sampled already is followed."""
    with tracing.span("cancel_expired", Kind.STEP):
        assert tracing.inject() == ""
    with tracing.span("deduct_stock", Kind.SERVE, TRACE):
        pass
    assert list(spans(unsampled)) == ["deduct_stock"]


def test_the_diary_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file becomes the old one; older spans than those are gone."""
    monkeypatch.setattr(span_log, "_MAX_BYTES", 2 * span_log.TAIL_BYTES)
    for number in range(3000):
        with tracing.span(f"step {number}", Kind.STEP):
            pass
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert {Path(name).suffix for name in sizes} == {".jsonl", ".old", ".tail"}
    assert max(sizes.values()) <= 3 * span_log.TAIL_BYTES
    assert "step 2999" in spans(folder)
    assert "step 0" not in spans(folder)


def log_of(folder: Path, pid: int) -> span_log.SpanLog:
    """The log of a life of goods-1, as its process has it."""
    with mock.patch.object(os, "getpid", return_value=pid):
        who = {"service": "goods", "instance": "goods-1", "pid": pid}
        return span_log.SpanLog(folder, "goods-1", json.dumps(who))


def line(span: object, name: str = "") -> str:
    return json.dumps({"span": f"{span:>16}", "trace": "t", "began": 1, "name": name})


def read(folder: Path) -> list[tuple[str, int]]:
    """Each span, and whose it is."""
    return sorted((span["span"].strip(), span["pid"]) for span in read_spans(folder))


GONE = 2**22 + 1  # no process has such a number


def test_a_process_goes_on_where_its_predecessor_was_killed(tmp_path: Path) -> None:
    """A line that never ended spoils only itself, each span stays its own process's, and the tails
    of those who are gone are moved into the log."""
    for life in (1, 2, 3):
        log = log_of(tmp_path, GONE + life)
        log.write(line(life))
        log.write('{"span": "half')
    assert read(tmp_path) == [("1", GONE + 1), ("2", GONE + 2), ("3", GONE + 3)]
    assert len(list(tmp_path.glob("*.tail"))) == 1


def test_two_of_one_name_leave_each_other_alone(tmp_path: Path) -> None:
    """One that stood still wakes up beside its successor: both write, and nothing is lost."""
    old = log_of(tmp_path, os.getpid())
    new = log_of(tmp_path, GONE)
    for number in range(50):
        old.write(line(f"old{number}"))
        new.write(line(f"new{number}"))
    assert len(read(tmp_path)) == 100
    assert {pid for _, pid in read(tmp_path)} == {os.getpid(), GONE}


def test_a_full_tail_goes_to_the_log_and_nothing_is_lost(tmp_path: Path) -> None:
    """Every line is read once, wherever it stands; one that is longer than the tail is dropped."""
    log = log_of(tmp_path, GONE)
    for letter in "cdefg":
        log.write(line(letter, "x" * 29_900))
    log.write(line("h", "x" * span_log.TAIL_BYTES))
    log.write(line("i", "x" * 29_900))
    assert [span for span, _ in read(tmp_path)] == list("cdefgi")
    assert (tmp_path / "goods-1.jsonl").stat().st_size > span_log.TAIL_BYTES


def test_what_moves_while_it_is_read_is_seen(folder: Path) -> None:
    """Lines go from the tail to the log between two files that a reader reads: it misses none."""
    ended: list[int] = []

    def work() -> None:
        for number in range(6000):
            with tracing.span(f"step {number}", Kind.STEP):
                pass
            ended.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        there = len(ended)
        names = {span["name"] for span in read_spans(folder)}
        assert {f"step {number}" for number in range(there)} <= names


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_log_on_a_full_disk_loses_spans_and_nothing_else(tmp_path: Path) -> None:
    """What finds no room is lost with its tail; what comes after is read, and whose it is."""
    full = tmp_path / "goods-1.jsonl"
    full.symlink_to("/dev/full")
    log = log_of(tmp_path, GONE)
    for letter in "abc":
        log.write(line(letter, "x" * 29_900))
    full.unlink()  # it never ends
    assert read(tmp_path) == [("c", GONE)]


def test_a_tail_that_could_not_be_made_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts on a full disk makes spans when there is room."""
    monkeypatch.setattr(span_log, "_AGAIN_S", 0.0)
    log = log_of(tmp_path, GONE)
    with monkeypatch.context() as full:
        full.setattr(span_log, "_map", mock.Mock(side_effect=OSError("the disk is full")))
        log.write(line("a"))
    log.write(line("b"))
    assert read(tmp_path) == [("b", GONE)]


def test_what_is_no_record_is_passed_over(folder: Path) -> None:
    """A file that somebody else wrote to spoils no picture of an order."""
    with tracing.span("find_goods", Kind.STEP, order_id=str(ORDER)):
        pass
    odd = [b"7", b"[]", b"\xff\xfe", b'{"span": "a", "ended": 1}', b'{"began": 1, "span": "b"}']
    (folder / "odd-1.jsonl").write_bytes(b"\n".join(odd))
    assert list(spans(folder)) == ["find_goods"]
    assert [span["name"] for span in read_spans(folder, str(ORDER))] == ["find_goods"]
    assert read_spans(folder, "ended") == []
    assert read_spans(folder / "nothing") == []


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
