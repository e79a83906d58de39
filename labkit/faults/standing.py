"""What stands broken is written down, so that whoever broke it can be killed and it is mended.

A note says how one thing is undone. Its maker holds a lock on it, which the system drops when the
maker dies, however it dies: a note that nobody holds is of somebody who cannot undo it any more.
The next command, or the next `Lab`, does.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labkit.home import Home, try_lock
from labkit.stack.control import NotUp

Undo = Callable[..., None]
#: name → what undoes one thing. Each can be done twice, and when it is undone already.
UNDOES: dict[str, Undo] = {}


def undoes(function: Undo) -> Undo:
    """Register a function that undoes one thing: it takes the home, and what JSON can hold."""
    UNDOES[function.__name__] = function
    return function


@contextmanager
def standing(home: Home, undo: Undo, **arguments: Any) -> Iterator[None]:
    """Have something broken for a block, undone at its end, or later where this process is killed.

    What breaks it comes in the block: a note without a fault does no harm.

    Args:
        home: of the lab.
        undo: what undoes it; registered.
        arguments: of `undo`.
    """
    note, lock = _write(home, {"undo": undo.__name__, "arguments": arguments})
    try:
        yield
    finally:
        try:
            undo(home, **arguments)
            note.unlink(missing_ok=True)
        finally:
            os.close(lock)  # a note that is left is undone by the next command


def mend(home: Home, *, everything: bool = False) -> list[str]:
    """Undo what stands broken and whose maker is gone, the newest first.

    Args:
        home: of the lab.
        everything: also what a maker still wants broken.

    Returns:
        What was undone, or could not be, in words.
    """
    notes = sorted(home.standing.glob("*.json"), reverse=True)
    return [said for note in notes if (said := _mend(home, note, everything=everything))]


def _mend(home: Home, note: Path, *, everything: bool) -> str | None:
    lock = None
    with suppress(FileNotFoundError):  # undone meanwhile
        lock = try_lock(note)
        if lock is None and not everything:
            return None
        said = json.loads(note.read_text() or "null")
        try:
            with suppress(NotUp):  # no supervisor holds anything down
                if said:
                    UNDOES[said["undo"]](home, **said["arguments"])
        except Exception as error:  # one that cannot be mended keeps no other from it
            return f"{_in_words(said)}: not mended ({' '.join(str(error).split())})"
        else:
            note.unlink(missing_ok=True)
            return _in_words(said) if said else None
        finally:
            if lock is not None:
                os.close(lock)
    return None


def _in_words(said: dict[str, Any]) -> str:
    about = ", ".join(str(value) for value in said["arguments"].values())
    return f"{said['undo'].replace('_', ' ')} {about}"


def _write(home: Home, said: dict[str, Any]) -> tuple[Path, int]:
    """Write a note and lock it, before anybody can find it."""
    home.standing.mkdir(mode=0o700, exist_ok=True)
    note = home.standing / f"{time.time_ns():020}-{secrets.token_hex(4)}.json"
    draft = note.with_suffix(".draft")
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, json.dumps(said).encode())
    draft.rename(note)
    return note, lock
