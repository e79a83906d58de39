"""The picture of one order, from the spans that every process left in the home.

The same picture on every run, whatever the timing: each logical call once, no times.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from labkit.ops.trace.diagram import Diagram, Line
from labkit.ops.trace.polls import without_idle_questions
from labkit.ops.trace.sequence import PARTICIPANTS, tell
from labkit.ops.trace.tree import Span, trees

_ENDED_WITHIN_SECONDS = 2.0
_POLL_SECONDS = 0.02


class NotTraced(Exception):
    """There are no spans of an order; the message says why."""


def draw(folder: Path, order_id: str, alias: Callable[[str], str]) -> Diagram:
    """Draw one order.

    Args:
        folder: of the home's traces.
        order_id: of which order.
        alias: puts short names in place of ids.

    Raises:
        NotTraced: no process has left a span of it.
    """
    roots = [root for root in trees(_read_ended(folder, order_id)) if order_id in root.orders()]
    changing = [root for root in roots if not root.name.startswith("GET ")]
    told = [line for root in without_idle_questions(changing) for line in tell(root)]
    if not told:
        raise NotTraced(
            f"{alias(order_id)} left no trace: is it an order of this lab, "
            f"and was the lab started with LABKIT_TRACING=on?"
        )
    seen = {name for line in told for name in (line.start, line.end)}
    lines = [Line(one.start, one.arrow, one.end, alias(one.text)) for one in told]
    return Diagram(
        f"Order {alias(order_id)}",
        [participant for participant in PARTICIPANTS if participant in seen],
        lines,
    )


def _read_ended(folder: Path, order_id: str) -> list[Span]:
    """The spans of an order's traces, once every process that lives has ended its own."""
    deadline = time.monotonic() + _ENDED_WITHIN_SECONDS
    while True:
        spans = _read(folder, order_id)
        under_way = any(not span["ended"] and psutil.pid_exists(span["pid"]) for span in spans)
        if not under_way or time.monotonic() > deadline:
            return spans
        time.sleep(_POLL_SECONDS)


def _read(folder: Path, order_id: str) -> list[Span]:
    files = [*sorted(folder.glob("*.old")), *sorted(folder.glob("*.jsonl"))]
    lines = [line for file in files for line in file.read_text().splitlines() if line[-1:] == "}"]
    traces = {json.loads(line)["trace"] for line in lines if f'"{order_id}"' in line}
    found = map(json.loads, (line for line in lines if any(trace in line for trace in traces)))
    return list({one["span"]: one for one in found}.values())  # its end stands after its beginning
