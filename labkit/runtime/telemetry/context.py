"""The context of a trace, as text: `traceparent` of W3C Trace Context."""

import re

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)

_SAMPLED = re.compile(r".{53}[0-9a-f][13579bdf].*")


def checked(text: str) -> str:
    """Return a `traceparent` that somebody else wrote; empty if it is broken."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def trace_of(traceparent: str) -> str:
    """Return the id of the trace, 32 hexadecimal digits."""
    return traceparent[3:35]


def span_of(traceparent: str) -> str:
    """Return the id of the span that causes what follows, 16 hexadecimal digits."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Return True if what follows is recorded."""
    return traceparent[53:] == "01" or bool(_SAMPLED.fullmatch(traceparent))


def traceparent(trace: str, span: str) -> str:
    """Return the text for a span that is recorded."""
    return f"00-{trace}-{span}-01"
