"""Texts that are stored have a bound: what is longer is cut, before a database refuses it.

MySQL in strict mode refuses what does not fit a column. The cause of a failure may be of any
length, and the row that it belongs to must be kept all the same.
"""

from sqlalchemy import Dialect, Text, TypeDecorator

#: Characters of a cause. A dead letter of the largest body (8 KB) and such a cause fits the 64 KB
#: of a `TEXT`, however both are escaped in JSON.
MAX_CAUSE = 2000


def shorten(text: str, limit: int = MAX_CAUSE) -> str:
    """Cut a text to a number of characters, and say at its end how long it was."""
    if len(text) <= limit:
        return text
    mark = f"… ({len(text)} characters)"
    return text[: limit - len(mark)] + mark


class CauseText(TypeDecorator[str]):
    """The type of a column that keeps a cause: whoever writes it, it fits."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Cut what is written."""
        return None if value is None else shorten(value)
