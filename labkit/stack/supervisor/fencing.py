"""Fencing (隔离): a process that is stopped with a database locked is killed, so that others go on.

SQLite lets one process write at a time. A process that is stopped in the middle of a transaction
keeps the lock, and every other instance of its service waits for it. Nothing but its end frees the
lock; what it had not committed is rolled back, as after any crash.
"""

import fcntl
import os
import struct
import sys
from pathlib import Path

import psutil

# struct flock, and where in it stand type, whence, start, length and process
_LAYOUT, _ORDER = ("hhqqi4x", "twslp") if sys.platform == "linux" else ("qqihh", "slptw")
_WRITE_LOCK = 120  # the byte of the shared-memory file that a writer locks (SQLite, "WAL locks")


def blocks(pid: int, database: Path) -> bool:
    """Return True if a process is stopped and holds the write lock of an SQLite database."""
    try:
        is_stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
    return is_stopped and writer_of(database) == pid


def writer_of(database: Path) -> int | None:
    """Return the process that is just writing to an SQLite database; None where there is none."""
    fields = {"t": fcntl.F_WRLCK, "w": os.SEEK_SET, "s": _WRITE_LOCK, "l": 1, "p": 0}
    try:
        with database.with_name(f"{database.name}-shm").open("r+b") as shared:
            question = struct.pack(_LAYOUT, *(fields[name] for name in _ORDER))
            answer = fcntl.fcntl(shared, fcntl.F_GETLK, question)
    except FileNotFoundError:  # nobody has it open
        return None
    lock = dict(zip(_ORDER, struct.unpack(_LAYOUT, answer), strict=True))
    return None if lock["t"] == fcntl.F_UNLCK else int(lock["p"])
