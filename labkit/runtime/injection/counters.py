"""Counters that processes share through a file, and that outlive a crash."""

import mmap
import os
from pathlib import Path


class Counters:
    """Numbers in a file that processes map into their memory.

    Args:
        path: the file, made if there is none.
        size: how many numbers.
    """

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            _lengthen(file.fileno(), size * 8)
            self._numbers = memoryview(mmap.mmap(file.fileno(), size * 8)).cast("Q")

    def add(self, index: int) -> None:
        """Count one more."""
        self._numbers[index] += 1

    def read(self, index: int) -> int:
        """Return a number as it is now."""
        return self._numbers[index]


def numbers_in(path: Path, size: int) -> list[int]:
    """Read so many counters of a file without writing to it; those that it lacks are zero."""
    data = path.read_bytes()[: size * 8].ljust(size * 8, b"\0")
    return memoryview(data).cast("Q").tolist()


def _lengthen(descriptor: int, size: int) -> None:
    """Write zeros up to a size, so that every page of the map has its place on the disk.

    A file that is only made long (`truncate`) is a hole. The first count into a hole needs a block,
    and on a full disk that is no error but SIGBUS: the process is gone.
    """
    while (missing := size - os.fstat(descriptor).st_size) > 0:
        os.write(descriptor, bytes(missing))
