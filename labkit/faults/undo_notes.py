"""What stands broken is written down, so that whoever broke it can be killed and it is mended.

A note says how one thing is undone. Its maker holds a lock on it, which the system drops when the
maker dies, however it dies: a note that nobody holds is of somebody who cannot undo it any more.
The next command, or the next `Lab`, does.
"""

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from labkit.home import Home, try_lock
from labkit.stack.supervisor.control import NotUp

Undo = Callable[..., None]
#: How a person calls the fault that is being applied; its notes say so.
CALLED: ContextVar[str] = ContextVar("called", default="")
_LOOK_S = 0.05
#: name → what undoes one thing. Each can be done twice, and when it is undone already.
UNDO_ACTIONS: dict[str, Undo] = {}


def undo_action(function: Undo) -> Undo:
    """Register a function that undoes one thing: it takes the home, and what JSON can hold."""
    UNDO_ACTIONS[function.__name__] = function
    return function


@contextmanager
def undo_note(home: Home, undo: Undo, **arguments: Any) -> Iterator[Path]:
    """Have something broken for a block, undone at its end, or later where this process is killed.

    What breaks it comes in the block: a note without a fault does no harm.

    Args:
        home: of the lab.
        undo: what undoes it; registered.
        arguments: of `undo`.

    Returns:
        The note, which goes when somebody else clears the fault; see `end_when_cleared`.
    """
    said = {"undo": undo.__name__, "arguments": arguments, "fault": CALLED.get(), "by": os.getpid()}
    note, lock = _write(home, said)
    try:
        yield note
    finally:
        try:
            undo(home, **arguments)
            note.unlink(missing_ok=True)
        finally:
            os.close(lock)  # a note that is left is undone by the next command


@contextmanager
def end_when_cleared(note: Path, end: Callable[[], None]) -> Iterator[None]:
    """End what this process alone can end, as soon as somebody else clears its note, in a block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            if not note.exists():
                return end()
        return None

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def list_notes(home: Home) -> list[dict[str, Any]]:
    """List what stands broken, each fault once: its name, and the process that wants it so."""
    found = []
    for note in sorted(home.standing.glob("*.json")):
        with suppress(FileNotFoundError, ValueError):  # gone meanwhile, or broken: `mend` says so
            said = _read(note)
            found.append({"fault": _in_words(said), "held by": said.get("by")})
    return [row for at, row in enumerate(found) if row not in found[:at]]


def mend(home: Home, *, everything: bool = False) -> list[str]:
    """Undo what stands broken and whose maker is gone, the newest first.

    Args:
        home: of the lab.
        everything: also what a maker still wants broken.

    Returns:
        What was undone, or could not be, in words.
    """
    notes = sorted(home.standing.glob("*.json"), reverse=True)
    mended = [said for note in notes if (said := _mend(home, note, everything=everything))]
    return list(dict.fromkeys(mended))  # a fault may have several notes


def _mend(home: Home, note: Path, *, everything: bool) -> str | None:
    lock = None
    with suppress(FileNotFoundError):  # undone meanwhile
        lock = try_lock(note)
        if lock is None and not everything:
            return None
        try:
            said = _read(note)
            with suppress(NotUp):  # no supervisor holds anything down
                UNDO_ACTIONS[said["undo"]](home, **said["arguments"])
        except Exception as error:  # one that cannot be mended keeps no other from it
            what = note if isinstance(error, _BrokenNote) else _in_words(said)
            return f"{what}: not mended ({' '.join(str(error).split())})"
        else:
            note.unlink(missing_ok=True)
            return _in_words(said)
        finally:
            if lock is not None:
                os.close(lock)
    return None


class _BrokenNote(ValueError):
    """Somebody else wrote to a note."""


def _read(note: Path) -> dict[str, Any]:
    """Return what a note says.

    Raises:
        _BrokenNote: it says nothing that could be undone.
    """
    try:
        said = json.loads(note.read_text())
    except ValueError:
        said = None
    if not isinstance(said, dict) or not {"undo", "arguments"} <= said.keys():
        raise _BrokenNote("the note is broken: remove it")
    return said


def _in_words(said: dict[str, Any]) -> str:
    if said.get("fault"):
        return str(said["fault"])
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
