"""Errors that callers of the runtime must expect; each says how much is known."""

from sqlalchemy.exc import DBAPIError


class Unknown(Exception):
    """No answer came in time. The work may have been done, may still be done, or never."""


class Overloaded(Exception):
    """Too much waits already: this was not begun, and leaves nothing behind."""


def in_one_line(error: BaseException) -> str:
    """Return an error's text without the statement, its values and SQLAlchemy's link."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(f"{type(error).__name__}: {cause}".split())
