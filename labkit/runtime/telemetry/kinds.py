"""The kinds of spans. A request over HTTP has a span of FastAPI's own."""

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of spans that the runtime makes."""

    CALL = "call"
    SERVE = "serve"
    STEP = "step"
    SEND = "send"
    RECEIVE = "receive"
