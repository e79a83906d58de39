"""The kinds of spans."""

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of spans that a process makes."""

    HTTP = "http"
    CALL = "call"
    SERVE = "serve"
    STEP = "step"
    SEND = "send"
    RECEIVE = "receive"
