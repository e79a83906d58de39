"""Log files that stay short, whoever writes to them: also a broker that knows nothing of us.

A process writes to its log through a descriptor that it was started with, so the file cannot be
exchanged for a new one. It is cut in its place: who appends goes on at its new end.
"""

from contextlib import suppress
from pathlib import Path

#: A file that has grown to so many bytes keeps its last lines, of this many bytes.
FULL_BYTES, KEPT_BYTES = 1_000_000, 250_000


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
        kept = log.read().partition(b"\n")[2]
    with file.open("ab", buffering=0) as log:  # at the end: somebody may write meanwhile
        log.truncate(0)
        log.write(kept)
