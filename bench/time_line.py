"""The time line of an order: where it was in each of its milliseconds, as the middle of many.

It comes from the spans of orders under load. One order in ten is traced, so that looking does not
change what is looked at.
"""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.ground import Ground, ground
from labkit.ops.trace.reading import read_spans
from labkit.ops.trace.tree import Span

_SHARE = 0.1
_REQUEST = "POST /order/confirm"
_WARM_S, _LOAD_S = 1.0, 5.0
_WIDTH = 40
_MS = 1_000_000


class Part(NamedTuple):
    """One part of one order: a request, a call or a step.

    Attributes:
        what: it was.
        began: after the request, in milliseconds.
        lasted: in milliseconds.
        served: for so many of them the other side was at it; 0 where there is none.
    """

    what: str
    began: float
    lasted: float
    served: float


class TimeLine(NamedTuple):
    """The parts of the orders under one load, each in the middle of all orders.

    Attributes:
        clients: that placed orders at once.
        rate: orders a second.
        orders: how many were traced.
        parts: in the order in which they begin.
    """

    clients: int
    rate: float
    orders: int
    parts: Sequence[Part]


def measure(folder: Path, clients: Iterable[int]) -> Iterator[TimeLine]:
    """Place orders, and look where they were.

    Args:
        folder: of the lab, which is made.
        clients: numbers of clients, for a time line each.
    """
    os.environ["LABKIT_TRACING"] = str(_SHARE)  # whatever it was
    with ground(folder) as lab:
        yield from (_under_load(lab, number) for number in clients)


def _under_load(lab: Ground, clients: int) -> TimeLine:
    lab.reset_for(_WARM_S + _LOAD_S)
    run = lab.load(clients, _WARM_S, _LOAD_S)
    orders = list(_placed(read_spans(lab.home.traces)))
    return TimeLine(clients, run.rate, len(orders), _middle(orders))


def _placed(spans: Iterable[Span]) -> Iterator[list[Part]]:
    """Yield the parts of each order that was placed and whose spans are all there."""
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span["trace"]].append(span)
    for trace in traces.values():
        request = next((span for span in trace if span["name"] == _REQUEST), None)
        is_placed = request and request["status"] == 200
        if request and is_placed and all(span["ended"] for span in trace):
            yield list(_parts(trace, request["began"]))


def _parts(trace: Sequence[Span], since: int) -> Iterator[Part]:
    served = {span["parent"]: _length(span) for span in trace if span["kind"] == "serve"}
    for span in trace:
        if span["kind"] in ("http", "call", "step"):
            peer = span.get("peer")
            who = f"{span['service']} → {peer}" if peer else span["service"]
            what = f"{who}: {span['name']}"
            began = (span["began"] - since) / _MS
            yield Part(what, began, _length(span), served.get(span["span"], 0.0))


def _length(span: Span) -> float:
    return ((span["ended"] or span["began"]) - span["began"]) / _MS


def _middle(orders: Sequence[Sequence[Part]]) -> list[Part]:
    """Return the median of each part, over the orders that have it."""
    parts: dict[str, list[Part]] = defaultdict(list)
    for order in orders:
        for part in order:
            parts[part.what].append(part)
    middle = (
        Part(
            what,
            *(statistics.median(values) for values in zip(*(each[1:] for each in of), strict=True)),
        )
        for what, of in parts.items()
    )
    return sorted(middle, key=lambda part: part.began)


def as_rows(line: TimeLine) -> list[Mapping[str, str]]:
    """Return a time line as a table: a bar for each part, of the length of the whole."""
    whole = max((part.began + part.lasted for part in line.parts), default=1.0)
    return [
        {
            "part": part.what,
            "from ms": f"{part.began:.1f}",
            "ms": f"{part.lasted:.1f}",
            "served ms": f"{part.served:.1f}" if part.served else "",
            "when": _bar(part, whole),
        }
        for part in line.parts
    ]


def _bar(part: Part, whole: float) -> str:
    first = int(_WIDTH * part.began / whole)
    length = max(1, round(_WIDTH * part.lasted / whole))
    return "·" * first + "█" * min(length, _WIDTH - first)
