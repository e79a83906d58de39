"""The kinds of span. A request over HTTP has a span of FastAPI's own."""

from enum import StrEnum


class Kind(StrEnum):
    """What a span is about."""

    CALL = "call"
    SERVE = "serve"
    STEP = "step"
    SEND = "send"
    RECEIVE = "receive"
