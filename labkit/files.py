"""The files in a home: reading what somebody else may have broken, whole writes, and locks."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labkit.waiting import poll_until

_LOOKING_S = 1.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file of the home; None where there is no file.

    Raises:
        ValueError: somebody else wrote to it; says which file, and what to do.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise broken(path) from error
    if not isinstance(value, dict):
        raise broken(path)
    return value


@contextmanager
def making_sense_of(path: Path) -> Iterator[None]:
    """Turn the errors of a block that parses a file of the home into one that names the file.

    Raises:
        ValueError: somebody else wrote to it; says which file, and what to do.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise broken(path) from error


def broken(path: Path) -> ValueError:
    """Return the error that says which file is broken, and what to do."""
    text = "put it back as it was, or name another home with --home"
    return ValueError(f"the file {path} is broken: {text}")


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace a file so that a reader sees the old or the new text, never a part.

    Args:
        path: the file; its owner alone can read it.
        text: the whole new content.
        durable: whether the text must be on disk before this returns.

    Raises:
        OSError: it could not be written; the old text stands.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def is_no_room(error: BaseException) -> bool:
    """Return True if an error says that the disk, or our share of it, is full."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock: one process at a time is inside, and a dead one never is."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(path: Path, *, only_look: bool = False) -> int | None:
    """Take a file lock, which the system drops when this process dies, however it dies.

    Args:
        path: the lock file; it is created where there is none.
        only_look: take it shared, so that two who look at once do not see each other.

    Returns:
        The open descriptor that holds the lock; None where another process holds it.
    """
    kind, mode = fcntl.LOCK_EX, os.O_RDWR | os.O_CREAT
    if only_look:
        kind = fcntl.LOCK_SH
        mode = os.O_RDONLY if path.exists() else mode  # who can write nowhere may look
    descriptor = os.open(path, mode | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_lock(path: Path, seconds: float = _LOOKING_S) -> int | None:
    """Take a file lock as `try_lock` does, but wait for a process that only looks at it.

    Args:
        path: the lock file; it is created where there is none.
        seconds: how long to wait for whoever holds it.
    """
    descriptor: int | None = None

    def is_taken() -> bool:
        nonlocal descriptor
        descriptor = try_lock(path)
        return descriptor is not None

    poll_until(is_taken, seconds, poll=0.01)
    return descriptor


def lengthen(descriptor: int, size: int) -> None:
    """Write zeros to a file up to a size, so that it can be mapped into memory.

    A file that is only made long (`truncate`) is a hole. The first write into a mapped hole needs a
    block, and on a full disk that is no error but SIGBUS: the process is gone.

    Args:
        descriptor: of the file, open to append.
        size: in bytes.

    Raises:
        OSError: the disk is full.
    """
    while (missing := size - os.fstat(descriptor).st_size) > 0:
        os.write(descriptor, bytes(missing))
