"""Notes that say how to undo a fault, so that it is mended also where its maker is killed.

A maker holds a lock on its note, which the system drops when the maker dies, however it dies: a
note without a lock is of a process that cannot undo it any more. The next command, or the next
`Lab`, does it.
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
from typing import TypeAlias, TypedDict, cast

from labkit.files import try_lock
from labkit.home import Home
from labkit.stack.supervisor.control import NotUp

Undo: TypeAlias = Callable[..., None]
#: A fault that stands, in a list: its name, and the pid of the process that holds it.
StandingRow = TypedDict("StandingRow", {"fault": str, "held by": int | None})
#: The fault that is being applied, as a person names it; its notes say so.
CALLED: ContextVar[str] = ContextVar("called", default="")
_LOOK_S = 0.05
#: name → undo action. Each can be done twice, and also when nothing is left to undo.
UNDO_ACTIONS: dict[str, Undo] = {}


def undo_action(function: Undo) -> Undo:
    """Register an undo action: a function of the home, and of values that JSON can hold."""
    UNDO_ACTIONS[function.__name__] = function
    return function


@contextmanager
def undo_note(home: Home, undo: Undo, **arguments: object) -> Iterator[Path]:
    """Keep a note for a block, and undo at its end; others do where this process is killed.

    The block does the damage: a note without a fault does no harm.

    Args:
        home: of the lab.
        undo: a registered undo action.
        arguments: of `undo`.

    Yields:
        The note, which is removed when somebody else clears the fault; see `end_when_cleared`.
    """
    content = _Content(undo=undo.__name__, arguments=arguments, fault=CALLED.get(), by=os.getpid())
    note, lock = _write(home, content)
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
    """End in a block what this process alone can end, as soon as somebody else clears its note."""
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


def list_notes(home: Home) -> list[StandingRow]:
    """List the faults that stand, each once: its name, and the process that holds it."""
    rows: list[StandingRow] = []
    for note in sorted(home.standing.glob("*.json")):
        with suppress(FileNotFoundError, ValueError):  # gone meanwhile, or broken: `mend` says so
            content = _read(note)
            rows.append({"fault": _describe(content), "held by": content.get("by")})
    return [row for at, row in enumerate(rows) if row not in rows[:at]]


def mend(home: Home, *, everything: bool = False) -> list[str]:
    """Undo the faults whose maker is gone, the newest first.

    Args:
        home: of the lab.
        everything: undo also the faults whose maker is alive.

    Returns:
        The faults that were undone, or could not be, in words.
    """
    notes = sorted(home.standing.glob("*.json"), reverse=True)
    mended = [text for note in notes if (text := _mend(home, note, everything=everything))]
    return list(dict.fromkeys(mended))  # a fault may have several notes


def _mend(home: Home, note: Path, *, everything: bool) -> str | None:
    lock = None
    with suppress(FileNotFoundError):  # undone meanwhile
        lock = try_lock(note)
        if lock is None and not everything:
            return None
        try:
            content = _read(note)
            with suppress(NotUp):  # no supervisor holds anything down
                UNDO_ACTIONS[content["undo"]](home, **content["arguments"])
        except Exception as error:  # one that cannot be mended keeps no other from it
            name = note if isinstance(error, _BrokenNote) else _describe(content)
            return f"{name}: not mended ({' '.join(str(error).split())})"
        else:
            note.unlink(missing_ok=True)
            return _describe(content)
        finally:
            if lock is not None:
                os.close(lock)
    return None


class _Content(TypedDict, total=False):
    """The content of a note; `undo` and `arguments` are in each."""

    undo: str
    arguments: dict[str, object]
    fault: str
    by: int


class _BrokenNote(ValueError):
    """Somebody else wrote to a note."""


def _read(note: Path) -> _Content:
    """Read a note.

    Raises:
        _BrokenNote: it names nothing that could be undone.
    """
    try:
        content = json.loads(note.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"undo", "arguments"} <= content.keys():
        raise _BrokenNote("the note is broken: remove it")
    return cast(_Content, content)


def _describe(content: _Content) -> str:
    if content.get("fault"):
        return content["fault"]
    values = ", ".join(str(value) for value in content["arguments"].values())
    return f"{content['undo'].replace('_', ' ')} {values}"


def _write(home: Home, content: _Content) -> tuple[Path, int]:
    """Write a note and lock it, before anybody can find it."""
    home.standing.mkdir(mode=0o700, exist_ok=True)
    note = home.standing / f"{time.time_ns():020}-{secrets.token_hex(4)}.json"
    draft = note.with_suffix(".draft")
    lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, json.dumps(content).encode())
    draft.rename(note)
    return note, lock
