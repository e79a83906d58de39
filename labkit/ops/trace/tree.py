"""What was done in what, from spans: each logical thing once, however often it was tried."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

#: A span as a process wrote it down (`labkit/runtime/telemetry/span_log.py`).
Span = dict[str, Any]
_Parts = dict[str, list[Span]]


@dataclass
class Node:
    """One thing that was done.

    Attributes:
        span: the try that counts: the first that was answered, which later ones only repeat;
            where none was, the last.
        parts: what was done in it, in the order in which it was first begun.
    """

    span: Span
    parts: list["Node"] = field(default_factory=list)

    @property
    def service(self) -> str:
        """Who did it."""
        return str(self.span["service"])

    @property
    def name(self) -> str:
        """The call, the step or the topic."""
        return str(self.span["name"])

    @property
    def ended(self) -> int:
        """When, in nanoseconds; 0 where it never did."""
        return int(self.span["ended"] or 0)

    @property
    def answered(self) -> bool:
        """Whether it came to an end that its caller can rely on."""
        return bool(self.ended) and not self.span["failed"]

    @property
    def outcome(self) -> str:
        """The code of its answer; empty where it is a plain success, or says nothing."""
        found = str(self.span.get("outcome", ""))
        return "" if found == "SUCCESS" else found

    def orders(self) -> set[str]:
        """The orders that it is about, with all its parts."""
        return {str(self.span.get("order_id")), *chain(*(part.orders() for part in self.parts))}


def trees(spans: Iterable[Span]) -> list[Node]:
    """What nobody else here caused, each with all that it caused.

    Args:
        spans: in any order.
    """
    known = {span["span"]: span for span in spans}
    parts: _Parts = defaultdict(list)
    for one in sorted(known.values(), key=_began):
        parts[one["parent"] if one["parent"] in known else ""].append(one)
    return _fold(parts[""], parts)


def _fold(tries: list[Span], parts: _Parts) -> list[Node]:
    """Put the tries of one logical thing together, in the order of the first."""
    groups: dict[Any, list[Span]] = defaultdict(list)
    for one in tries:
        groups[_what(one)].append(one)
    return [
        Node(
            next((one for one in group if one["ended"] and not one["failed"]), group[-1]),
            _fold([part for one in group for part in parts[one["span"]]], parts),
        )
        for group in groups.values()
    ]


def _what(span: Span) -> Any:
    """What makes two spans tries of the same thing; two requests by HTTP never are."""
    if span["kind"] == "http":
        return span["span"]
    return tuple(span.get(part) for part in ("kind", "service", "peer", "name", "event_id"))


def _began(span: Span) -> int:
    return int(span["began"])
