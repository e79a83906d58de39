"""The report of an error by a command: a line or two, never a traceback, and exit code 1."""

import errno
import os
import sys
import tempfile
import traceback
from contextlib import suppress

import httpx
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from labkit.files import is_no_room
from labkit.printable import printable
from labkit.runtime.errors import in_one_line
from labkit.stack.supervisor.control import NotUp

_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def report(error: Exception) -> int:
    """Print what an error means; return the exit code.

    Where nobody reads our output any more, as behind `| head`, nothing is printed.
    """
    if isinstance(error, BrokenPipeError):
        with suppress(OSError):  # Python flushes into nothing at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    text = explain(error) or _report_bug(error)
    with suppress(OSError):  # nobody reads that either
        print(f"labkit: {text}", file=sys.stderr, flush=True)
    return 1


def explain(error: Exception) -> str | None:
    """Return an error in one line for people; None for a fault of ours."""
    if is_no_room(error):
        return f"the disk is full, nothing was changed ({error}): make room and do it again"
    text = _explain(error)
    return None if text is None else printable(" ".join(text.split()))


def _report_bug(error: Exception) -> str:
    """Return two lines about a fault of ours; write its traceback to a file."""
    summary = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    lines = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="labkit-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.write(lines)
    except OSError:
        return f"a fault of labkit's own, please report it: {summary}"
    return f"a fault of labkit's own: {summary}\nplease report it with what is in {file.name}"


def _explain(error: Exception) -> str | None:
    match error:
        case httpx.TimeoutException():
            return f"{_url_of(error)} did not answer in time: labkit status says what is up"
        case httpx.HTTPError():
            return f"{_url_of(error)} cannot be asked ({error}): labkit status says what is up"
        case SQLAlchemyError():
            return f"a database cannot be used: {in_one_line(error)}"
        case ValidationError():
            return "; ".join(
                f"{'.'.join(map(str, details['loc'])) or error.title}: {details['msg']}"
                for details in error.errors()
            )
        case OSError() if error.errno in _FORBIDDEN and error.filename:
            text = "labkit must be able to write there, or name another home with --home"
            return f"{error.filename}: {error.strerror}: {text}"
        case ModuleNotFoundError(name="bench"):
            return "load is put on a lab from a clone of the repository only: make bench"
        case NotUp() | RuntimeError() | ValueError() | OSError():
            return str(error)
    return None


def _url_of(error: httpx.HTTPError) -> str:
    try:
        return str(error.request.url)
    except RuntimeError:  # no request was made
        return "the lab"
