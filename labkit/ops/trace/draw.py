"""The diagram of one order, from the spans that every process has left in the home.

It is the same on every run, whatever the timing: each logical call once, no times.
"""

from collections.abc import Callable
from pathlib import Path

import psutil

from labkit.ops.trace.diagram import Diagram, Line
from labkit.ops.trace.polls import drop_idle_polls
from labkit.ops.trace.reading import read_spans
from labkit.ops.trace.sequence import PARTICIPANTS, sequence_lines
from labkit.ops.trace.tree import Span, build_trees
from labkit.waiting import poll_until

_ENDED_WITHIN_SECONDS = 2.0


class NotTraced(Exception):
    """There are no spans of an order; the message says why."""


def draw(folder: Path, order_id: str, alias: Callable[[str], str]) -> Diagram:
    """Draw one order.

    Args:
        folder: of the home's traces.
        order_id: of the order.
        alias: replaces ids in a text by short names.

    Raises:
        NotTraced: no process has left a span of the order.
    """
    trees = build_trees(_read_ended(folder, order_id))
    roots = [root for root in trees if order_id in root.orders()]
    changing = [root for root in roots if not root.name.startswith("GET ")]
    lines = [line for root in drop_idle_polls(changing) for line in sequence_lines(root)]
    if not lines:
        raise NotTraced(
            f"{alias(order_id)} left no trace: is it an order of this lab, "
            f"and was the lab started with LABKIT_TRACING=on?"
        )
    names = {name for line in lines for name in (line.start, line.end)}
    return Diagram(
        f"Order {alias(order_id)}",
        [participant for participant in PARTICIPANTS if participant in names],
        [Line(line.start, line.arrow, line.end, alias(line.text)) for line in lines],
    )


def _read_ended(folder: Path, order_id: str) -> list[Span]:
    """Read the spans of an order's traces, once every process that lives has ended its own."""
    spans: list[Span] = []

    def are_ended() -> bool:
        spans[:] = read_spans(folder, order_id)
        return all(span["ended"] or not psutil.pid_exists(span["pid"]) for span in spans)

    poll_until(are_ended, _ENDED_WITHIN_SECONDS)
    return spans
