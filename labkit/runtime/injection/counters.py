"""Counters that processes share through a file, and that outlive a crash."""

import mmap
from pathlib import Path

from labkit.files import lengthen


class Counters:
    """Numbers in a file that processes map into their memory.

    Args:
        path: the file, made if there is none.
        size: how many numbers.

    Attributes:
        numbers: the numbers themselves, for code that has no time for a method.
    """

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            lengthen(file.fileno(), size * 8)
            self.numbers = memoryview(mmap.mmap(file.fileno(), size * 8)).cast("Q")

    def add(self, index: int) -> None:
        """Count one more."""
        self.numbers[index] += 1

    def read(self, index: int) -> int:
        """Return a number as it is now."""
        return self.numbers[index]


def numbers_in(path: Path, size: int) -> list[int]:
    """Read so many counters of a file without writing to it; those that it lacks are zero."""
    data = path.read_bytes()[: size * 8].ljust(size * 8, b"\0")
    return memoryview(data).cast("Q").tolist()
