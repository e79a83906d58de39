"""What a command says of an error: a line or two, never a traceback, and exit code 1."""

import errno
import os
import sys
import tempfile
import traceback
from contextlib import suppress

import httpx
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from labkit.home import is_no_room
from labkit.printable import printable
from labkit.runtime.errors import in_one_line
from labkit.stack.supervisor.control import NotUp

_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def tell(error: Exception) -> int:
    """Tell people what an error means; return the exit code.

    Where nobody reads our output any more, as behind `| head`, nothing is said.
    """
    if isinstance(error, BrokenPipeError):
        with suppress(OSError):  # what Python flushes at its end goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    said = in_words(error) or _of_ours(error)
    with suppress(OSError):  # nobody reads that either
        print(f"labkit: {said}", file=sys.stderr, flush=True)
    return 1


def in_words(error: Exception) -> str | None:
    """Return what to tell people, in one line; None for a fault of ours."""
    if is_no_room(error):
        return f"the disk is full, nothing was changed ({error}): make room and do it again"
    said = _in_words(error)
    return None if said is None else printable(" ".join(said.split()))


def _of_ours(error: Exception) -> str:
    """Return two lines about a fault of ours, whose traceback goes to a file."""
    said = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    lines = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="labkit-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.write(lines)
    except OSError:
        return f"a fault of labkit's own, please report it: {said}"
    return f"a fault of labkit's own: {said}\nplease report it with what is in {file.name}"


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
        case OSError() if error.errno in _FORBIDDEN and error.filename:
            text = "labkit must be able to write there, or name another home with --home"
            return f"{error.filename}: {error.strerror}: {text}"
        case ModuleNotFoundError(name="bench"):
            return "load is put on a lab from a clone of the repository only: make bench"
        case NotUp() | RuntimeError() | ValueError() | OSError():
            return str(error)
    return None


def _asked(error: httpx.HTTPError) -> str:
    try:
        return str(error.request.url)
    except RuntimeError:  # it was never made
        return "the lab"
