"""What a command says of an error that is none of the code's: one line, and exit code 1.

Anything else is a fault of ours, and keeps its traceback.
"""

import httpx
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from labkit.home import is_no_room
from labkit.printable import printable
from labkit.runtime.engines import in_one_line
from labkit.stack.control import NotUp


def in_words(error: Exception) -> str | None:
    """Return what to tell people, in one line; None for a fault of ours."""
    if is_no_room(error):
        return f"the disk is full, nothing was changed ({error}): make room and do it again"
    said = _in_words(error)
    return None if said is None else printable(" ".join(said.split()))


def _in_words(error: Exception) -> str | None:
    match error:
        case httpx.TimeoutException():
            return f"{_asked(error)} did not answer in time: labkit status says what is up"
        case httpx.HTTPError():
            return f"{_asked(error)} cannot be asked ({error}): labkit status says what is up"
        case SQLAlchemyError():
            return f"a database cannot be used: {in_one_line(error)}"
        case ValidationError():
            return "; ".join(
                f"{'.'.join(map(str, one['loc'])) or error.title}: {one['msg']}"
                for one in error.errors()
            )
        case NotUp() | RuntimeError() | ValueError() | OSError():
            return str(error)
    return None


def _asked(error: httpx.HTTPError) -> str:
    try:
        return str(error.request.url)
    except RuntimeError:  # it was never made
        return "the lab"
