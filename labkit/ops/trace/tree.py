"""A tree of the things that were done, from spans: each once, however often it was tried."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import NotRequired, TypedDict


class Span(TypedDict):
    """A span, as a process has written it (`labkit/runtime/telemetry/spans.py`).

    Keys:
        trace: the trace's id.
        span: its own id.
        parent: the parent's id; empty for a root.
        kind: `http`, `call`, `serve`, `step`, `send` or `receive`.
        service: whose process it was.
        pid: of that process.
        name: of the request, the call, the step or the topic.
        status: of the HTTP answer, 0 elsewhere.
        failed: True if it has ended with an error.
        began: in nanoseconds.
        ended: in nanoseconds; None while it is going on, and where its process died.
        peer: the service that a call is to.
        event_id: of a message.
        order_id: of the order that it is about.
        outcome: the code of the answer.
    """

    trace: str
    span: str
    parent: str
    kind: str
    service: str
    pid: int
    name: str
    status: int
    failed: bool
    began: int
    ended: int | None
    peer: NotRequired[str]
    event_id: NotRequired[str]
    order_id: NotRequired[str]
    outcome: NotRequired[str]


_Children = dict[str, list[Span]]


@dataclass
class Node:
    """One thing that was done.

    Attributes:
        span: of the attempt that counts: the first that was answered, which later ones only repeat;
            the last, where none was answered.
        parts: the things that were done in it, in the order in which they first began.
    """

    span: Span
    parts: list["Node"] = field(default_factory=list)

    @property
    def service(self) -> str:
        """Return the service that did it."""
        return self.span["service"]

    @property
    def name(self) -> str:
        """Return the name of the call, the step or the topic."""
        return self.span["name"]

    @property
    def ended(self) -> int:
        """Return the end in nanoseconds; 0 where it never ended."""
        return self.span["ended"] or 0

    @property
    def answered(self) -> bool:
        """Return True if it came to an end that its caller can rely on."""
        return bool(self.ended) and not self.span["failed"]

    @property
    def outcome(self) -> str:
        """Return the code of the answer; empty where it is a plain success, or there is none."""
        outcome = str(self.span.get("outcome", ""))
        return "" if outcome == "SUCCESS" else outcome

    def orders(self) -> set[str]:
        """Return the orders that it and its parts are about."""
        return {str(self.span.get("order_id")), *chain(*(part.orders() for part in self.parts))}


def build_trees(spans: Iterable[Span]) -> list[Node]:
    """Build a tree from each span whose parent is not among these.

    Args:
        spans: in any order.
    """
    by_id = {span["span"]: span for span in spans}
    children: _Children = defaultdict(list)
    for span in sorted(by_id.values(), key=lambda span: span["began"]):
        children[span["parent"] if span["parent"] in by_id else ""].append(span)
    return _fold(children[""], children)


def _fold(spans: list[Span], children: _Children) -> list[Node]:
    """Make one node of all attempts at the same thing, in the order of the first."""
    groups: dict[tuple[object, ...], list[Span]] = defaultdict(list)
    for span in spans:
        groups[_identity(span)].append(span)
    return [
        Node(
            next((span for span in group if span["ended"] and not span["failed"]), group[-1]),
            _fold([child for span in group for child in children[span["span"]]], children),
        )
        for group in groups.values()
    ]


def _identity(span: Span) -> tuple[object, ...]:
    """Return a key that attempts at the same thing share; two requests by HTTP never do."""
    if span["kind"] == "http":
        return (span["span"],)
    return (
        span["kind"],
        span["service"],
        span.get("peer"),
        span["name"],
        span.get("event_id"),
    )
