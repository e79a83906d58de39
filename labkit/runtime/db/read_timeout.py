"""PyMySQL's read timeout: changed on an open connection, for which there is no public way.

`Connection._read_timeout` was checked on PyMySQL 1.2. `tests/unit/runtime/test_private_names.py`
fails when it changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
from sqlalchemy.exc import DBAPIError


def set_read_timeout(driver: pymysql.Connection, seconds: float) -> None:
    """Let a connection of PyMySQL wait so long for an answer, from its next statement on."""
    driver._read_timeout = seconds


@contextmanager
def read_timeout(driver: pymysql.Connection, seconds: float | None) -> Iterator[None]:
    """Let the statements of a block wait so long for an answer; without a number, as before."""
    before = driver._read_timeout
    driver._read_timeout = before if seconds is None else seconds
    try:
        yield
    finally:
        driver._read_timeout = before


def is_timeout(error: DBAPIError) -> bool:
    """Return True if the answer of a statement did not come in time."""
    return isinstance(getattr(error.orig, "__context__", None), TimeoutError)
