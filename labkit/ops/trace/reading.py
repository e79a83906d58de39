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
    blocks = _blocks(folder)
    wanted = _of_order(order_id, chain(*blocks)) if order_id else None
    spans: dict[str, dict[str, Any]] = {}
    for block in blocks:
        who: dict[str, Any] = {}
        for record in _parse(line for line in block if not wanted or wanted(line)):
            if "span" in record:  # its second line tells what is new at its end
                spans.setdefault(record["span"], {}).update(record | who)
            else:
                who = record
    blank = {"ended": None, "failed": False, "status": 0}
    # what began in a file that is gone, or without a word whose it is, is passed over
    complete = (span for span in spans.values() if {"began", "pid"} <= span.keys())
    return [cast(Span, blank | span) for span in complete]


def _of_order(order_id: str, lines: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for the lines of the spans in an order's traces, and those that say whose."""
    lines = list(lines)
    mentions = _parse(line for line in lines if f'"{order_id}"' in line)
    traces = {str(record["trace"]) for record in mentions if "trace" in record}
    spans = {_start(line) for line in lines if any(trace in line for trace in traces)}
    return lambda line: _start(line) in spans or not line.startswith(_SPAN)


def _start(line: str) -> str:
    """Return the beginning of a line, up to the end of the span's id."""
    return line[: len(_SPAN) + 16]


def _blocks(folder: Path) -> list[list[str]]:
    """Read the lines of every file, the oldest first.

    Lines move from a tail to a log, and with that to an old log. Read in this order, each is seen
    at least once.
    """
    files = [file for suffix in (TAIL, LOG, OLD) for file in sorted(folder.glob(f"*{suffix}"))]
    return [_lines(file) for file in files][::-1]


def _lines(file: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return file.read_text(errors="replace").strip("\0").splitlines()
    return []


def _parse(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):  # a process was killed while it wrote it
            record = json.loads(line)
            if isinstance(record, dict):
                yield record
