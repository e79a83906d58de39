"""A disk that is really full: filled to the last byte, and kept so."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from labkit.faults.lab_verbs import LabVerbs
from labkit.faults.undo_actions import free_disk
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import Reach, verb
from labkit.home import Home
from labkit.runtime.injection import outages

#: The size of the largest disk that is filled: a larger one may be everybody's.
MAX_BYTES = 512 * 1024 * 1024
_CHUNK = os.urandom(64 * 1024)  # of which no file system makes a hole
_SMALLEST = 512
_TOP_UP_S = 0.05


class DiskVerbs(LabVerbs):
    """The faults of the disk on which the home lies."""

    @verb
    def disk_full(self) -> Iterator[Reach]:
        """Fill the home's disk to the last byte: a small one, which holds nothing but the home.

        Room that becomes free meanwhile is filled again. It hits everything that the lab writes:
        databases, ids, state, logs. The home must be put on such a disk first.

        Raises:
            ValueError: the disk is large, or is not the home's alone; says how to make a small one.
        """
        _must_be_small(self._home)
        with undo_note(self._home, free_disk), _filled(self._home.filling_file):
            before = _denied(self._home)  # reading a counter before would give its page room
            text = "no step failed for want of room, and no ids"
            yield Reach(lambda: _denied(self._home) - before, text)


def _must_be_small(home: Home) -> None:
    """Refuse a disk whose filling would harm somebody."""
    disk = home.folder
    while not disk.is_mount():
        disk = disk.parent
    size = shutil.disk_usage(disk).total
    path = {disk, *home.folder.parents, home.folder}
    neighbours = [
        file.name for file in disk.iterdir() if file not in path and file.name != "lost+found"
    ]
    if size <= MAX_BYTES and not neighbours:
        return
    why = (
        f"{neighbours[0]} lies there too" if size <= MAX_BYTES else f"it has {size / 10**9:.1f} GB"
    )
    raise ValueError(
        f"disk_full fills the disk of the home, {disk}, and {why}. Put the home on a small one of "
        "its own: mkdir small; sudo mount -t tmpfs -o size=64m,mode=777 tmpfs small; "
        "labkit up --home small/lab"
    )


@contextmanager
def _filled(file: Path) -> Iterator[None]:
    stopping = threading.Event()

    def keep_full(filling: IO[bytes]) -> None:
        while not stopping.wait(_TOP_UP_S):
            if not os.fstat(filling.fileno()).st_nlink:  # somebody else has cleared the fault
                filling.truncate(0)
                return
            _fill(filling)

    try:
        with file.open("ab", buffering=0) as filling:
            _fill(filling)
            keeper = threading.Thread(target=keep_full, args=(filling,), daemon=True)
            keeper.start()
            try:
                yield
            finally:
                stopping.set()
                keeper.join()
    finally:
        file.unlink(missing_ok=True)


def _fill(filling: IO[bytes]) -> None:
    """Write until nothing fits any more."""
    size = len(_CHUNK)
    while size >= _SMALLEST:
        with suppress(OSError):
            filling.write(_CHUNK[:size])
            continue
        size //= 2


def _denied(home: Home) -> int:
    """Return how often the shop could not do its work for want of a database, or of ids."""
    kinds = outages.DATABASE, outages.REGISTRY
    return sum(outages.total(home.faults, kind) for kind in kinds)
