"""Counters that processes share through a file, and that outlive a crash."""

import mmap
from pathlib import Path


class Counters:
    """Whole numbers in a file that processes map into their memory.

    Args:
        path: the file, made where there is none.
        size: how many numbers.
    """

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            if file.tell() < size * 8:
                file.truncate(size * 8)
            self._numbers = memoryview(mmap.mmap(file.fileno(), size * 8)).cast("Q")

    def add(self, at: int) -> None:
        """Count one more."""
        self._numbers[at] += 1

    def read(self, at: int) -> int:
        """A number as it is now."""
        return self._numbers[at]
