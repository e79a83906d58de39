"""Reads the spans that every process has left in the home."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

from labkit.ops.trace.tree import Span
from labkit.runtime.telemetry.span_log import LOG, OLD, TAIL

_SPAN = '{"span": "'


def read_spans(folder: Path, order_id: str | None = None) -> list[Span]:
    """Read spans.

    Args:
        folder: of the home's traces.
        order_id: of an order, for the spans of its traces alone; None for all.
    """
    processes = {file.stem for file in folder.iterdir()}
    lines = {process: _lines(folder, process) for process in sorted(processes)}
    wanted = _of_order(order_id, chain(*lines.values())) if order_id else None
    spans: dict[str, dict[str, Any]] = {}
    for own in lines.values():
        who: dict[str, Any] = {}
        for record in _parse(line for line in own if not wanted or wanted(line)):
            if "span" in record:  # its second line tells what is new at its end
                blank = {"ended": None, "failed": False, "status": 0, **who}
                spans.setdefault(record["span"], blank).update(record)
            else:
                who = record
    # the beginning may have been in a file that is gone
    return [cast(Span, span) for span in spans.values() if "began" in span]


def _of_order(order_id: str, lines: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for the lines of the spans in an order's traces, and those that say whose."""
    lines = list(lines)
    mentions = _parse(line for line in lines if f'"{order_id}"' in line)
    traces = {str(record["trace"]) for record in mentions}
    spans = {_start(line) for line in lines if any(trace in line for trace in traces)}
    return lambda line: _start(line) in spans or not line.startswith(_SPAN)


def _start(line: str) -> str:
    """Return the beginning of a line, up to the end of the span's id."""
    return line[: len(_SPAN) + 16]


def _lines(folder: Path, process: str) -> list[str]:
    """Read the lines of a process, in the order in which it wrote them."""
    lines: list[str] = []
    for suffix in (OLD, LOG, TAIL):
        with suppress(FileNotFoundError):
            lines += (folder / f"{process}{suffix}").read_text().strip("\0").splitlines()
    return lines


def _parse(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):  # a process was killed while it wrote it
            yield json.loads(line)
