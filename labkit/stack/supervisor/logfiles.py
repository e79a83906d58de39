"""Log files that stay short, whoever writes to them: also a broker that knows nothing of us.

A process writes to its log through a descriptor that it was started with, so the file cannot be
exchanged for a new one. It is cut in its place: a writer that appends goes on at its new end.
"""

import time
from contextlib import suppress
from pathlib import Path

from labkit.runtime import logs

#: A file that has grown to so many bytes keeps its last lines, of this many bytes.
FULL_BYTES, KEPT_BYTES = 1_000_000, 250_000
_EVERY_S = 1.0


class LogKeeper:
    """Keeps the logs of a lab short, and sums up repeated lines in the supervisor's own.

    Args:
        folder: in which the logs lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = logs.set_up(ticking=False)
        self._due = 0.0

    def tend(self) -> None:
        """Do the work that is due, once a second at most."""
        if time.monotonic() > self._due:
            shorten(self._folder)
            self._own.tick()
            self._due = time.monotonic() + _EVERY_S


def shorten(folder: Path) -> None:
    """Cut each log that has grown too long; a line that comes at that very moment may be lost.

    Args:
        folder: in which the logs lie.
    """
    for file in folder.glob("*.log"):
        with suppress(OSError):  # as on a full disk; the next time will do
            if file.stat().st_size > FULL_BYTES:
                _cut(file)


def _cut(file: Path) -> None:
    with file.open("rb") as log:
        log.seek(-KEPT_BYTES, 2)
        last_lines = log.read().partition(b"\n")[2]
    with file.open("ab", buffering=0) as log:  # at the end: somebody may write meanwhile
        log.truncate(0)
        log.write(last_lines)
