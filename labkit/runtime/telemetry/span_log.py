"""The span log of one process: its spans as lines of JSON in the home, for the lab to draw.

A span has a line when it begins and another one when it ends, so that a process that is killed
leaves behind what it was doing. Two writes to the system for each span would cost more than the
span. So lines gather in a file that is mapped into memory, the tail, and go to the log together
when it is full. A line in the tail is the system's, whatever becomes of the process: who reads the
log reads the tails too, and the next process of the same name moves it into the log.

A tail begins with a header that says whose lines follow. What finds no room, as on a full disk, is
lost: no order fails because of its picture.
"""

import mmap
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from labkit.files import lengthen

#: A file that has grown to this many bytes becomes the old one, and the old one is deleted.
_MAX_BYTES = 8_000_000
TAIL_BYTES = 65_536
LOG, OLD, TAIL = ".jsonl", ".old", ".tail"
_AGAIN_S = 1.0  # after which a tail that could not be made is tried again


class SpanLog:
    """Writes lines to the files of one process.

    Args:
        folder: the folder of the logs, made if there is none.
        process: name of the process; the files are named after it.
        header: the line that says whose lines follow.
    """

    def __init__(self, folder: Path, process: str, header: str) -> None:
        folder.mkdir(exist_ok=True)
        self._header = _line(header)
        self._file = folder / f"{process}{LOG}"
        self._tail_file = folder / f"{process}.{os.getpid()}{TAIL}"
        self._lock = threading.Lock()
        self._log = _open(self._file)
        for left in folder.glob(f"{process}.*{TAIL}"):
            with suppress(OSError):
                self._adopt(left)
        self._tail: mmap.mmap | None = None
        self._end = 0  # of the lines in the tail
        self._again_at = 0.0

    def write(self, line: str) -> None:
        """Write a line, without its line feed."""
        text = _line(line)
        with self._lock:
            tail = self._tail or self._begin()
            if tail and len(text) <= TAIL_BYTES - len(self._header):
                if self._end + len(text) > TAIL_BYTES:
                    self._empty(tail)
                self._put(tail, text)

    def _begin(self) -> mmap.mmap | None:
        """Make the tail; None where the disk is full, until it is tried again."""
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _AGAIN_S
            with suppress(OSError):
                self._tail = _map(self._tail_file)
                self._put(self._tail, self._header)
        return self._tail

    def _put(self, tail: mmap.mmap, text: bytes) -> None:
        tail[self._end : self._end + len(text)] = text
        self._end += len(text)

    def _empty(self, tail: mmap.mmap) -> None:
        """Move the lines to the log; whoever is killed here leaves some in both, which is one."""
        with suppress(OSError):
            self._append(tail[: self._end])
        tail[: self._end] = bytes(self._end)
        self._end = 0
        self._put(tail, self._header)

    def _adopt(self, left: Path) -> None:
        """Move the tail of a process that is gone to the log."""
        pid = left.suffixes[-2][1:]
        if not (pid.isdecimal() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))):
            self._append(left.read_bytes().rstrip(b"\0"))
            left.unlink()

    def _append(self, text: bytes) -> None:
        if os.fstat(self._log).st_size > _MAX_BYTES:
            self._rotate()
        os.write(self._log, text)

    def _rotate(self) -> None:
        """Begin a new file; the old one stays open until then, so its descriptor stays ours."""
        with suppress(FileNotFoundError):  # it was rotated before, and no new one could be made
            self._file.replace(self._file.with_suffix(OLD))
        before, self._log = self._log, _open(self._file)
        os.close(before)


def _line(text: str) -> bytes:
    """Put the line feed first: the line before may be of a process that was killed in its midst."""
    return f"\n{text}".encode()


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)


def _map(file: Path) -> mmap.mmap:
    descriptor = _open(file)
    try:
        lengthen(descriptor, TAIL_BYTES)
        return mmap.mmap(descriptor, TAIL_BYTES)
    finally:
        os.close(descriptor)
