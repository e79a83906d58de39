"""The span log of one process: its spans as lines of JSON in the home, for the lab to draw.

A span has a line when it begins and another one when it ends, so that a process that is killed
leaves behind what it was doing. Two writes to the system for each span would cost more than the
span. So lines gather in a file that is mapped into memory, the tail, and go to the log together
when it is full. A line in the tail is the system's, whatever becomes of the process: who reads the
log reads the tail too, and the next process moves it into the log. What finds no room, as on a full
disk, is lost: no order fails because of its picture.
"""

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

from labkit.files import lengthen

#: A file that has grown to this many bytes becomes the old one, and the old one is deleted.
_MAX_BYTES = 8_000_000
TAIL_BYTES = 65_536
LOG, OLD, TAIL = ".jsonl", ".old", ".tail"


class SpanLog:
    """Writes lines to the files of one process.

    Args:
        folder: the folder of the logs, made if there is none.
        process: name of the process; the files are named after it.
        header: the line that says whose lines follow.
    """

    def __init__(self, folder: Path, process: str, header: str) -> None:
        folder.mkdir(exist_ok=True)
        self._header = header
        self._file = folder / f"{process}{LOG}"
        self._lock = threading.Lock()
        self._log = _open(self._file)
        self._tail: mmap.mmap | None = None
        self._end = 0  # of the lines in the tail
        with suppress(OSError):
            self._tail = _map(self._file.with_suffix(TAIL))
            self._end = len(self._tail[:].rstrip(b"\0"))
        self.write(header)

    def write(self, line: str) -> None:
        """Write a line.

        Args:
            line: without a line feed. One is written before it, because an earlier process may have
                been killed in the midst of its own line.
        """
        text = f"\n{line}".encode()
        with self._lock:
            if self._tail and len(text) <= TAIL_BYTES:
                if self._end + len(text) > TAIL_BYTES:
                    self._empty(self._tail)
                self._tail[self._end : self._end + len(text)] = text
                self._end += len(text)

    def _empty(self, tail: mmap.mmap) -> None:
        """Move the lines to the log; whoever is killed here leaves some in both, which is one."""
        with suppress(OSError):
            if os.fstat(self._log).st_size > _MAX_BYTES:
                self._rotate()
            os.write(self._log, tail[: self._end])
        tail[: self._end] = bytes(self._end)
        self._end = 0

    def _rotate(self) -> None:
        """Begin a new file; the old one stays open until then, so its descriptor stays ours."""
        with suppress(FileNotFoundError):  # it was rotated before, and no new one could be made
            self._file.replace(self._file.with_suffix(OLD))
        before, self._log = self._log, _open(self._file)
        os.close(before)
        os.write(self._log, self._header.encode())


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)


def _map(file: Path) -> mmap.mmap:
    descriptor = _open(file)
    try:
        lengthen(descriptor, TAIL_BYTES)
        return mmap.mmap(descriptor, TAIL_BYTES)
    finally:
        os.close(descriptor)
