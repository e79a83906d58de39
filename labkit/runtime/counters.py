"""Numbers in memory that all processes of a home share."""

import mmap
from pathlib import Path


class Counters:
    """Whole numbers in a file that processes share through memory; they outlive a crash."""

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            if file.tell() < size * 8:
                file.truncate(size * 8)
            self._numbers = memoryview(mmap.mmap(file.fileno(), size * 8)).cast("Q")

    def add(self, at: int) -> None:
        """Make one of them greater by one."""
        self._numbers[at] += 1

    def read(self, at: int) -> int:
        """What one of them is."""
        return self._numbers[at]
