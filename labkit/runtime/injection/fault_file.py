"""A file of faults: tools outside change it, and the processes of a lab watch it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from labkit.files import locked, making_sense_of, write_whole
from labkit.runtime.injection.counters import Counters

T = TypeVar("T")


class FaultFile(Generic[T]):
    """A JSON file of faults in a home, which outlives any process.

    Args:
        file: the file; it is there only while there are faults.
        lock: the file whose lock a tool holds while it changes the faults.
        counter: the file that counts the changes.
        load: makes the faults of the file's JSON; of None, no faults.
        dump: makes the JSON of the faults.
        durable: whether a change must be on disk before it is seen.
    """

    def __init__(
        self,
        file: Path,
        lock: Path,
        counter: Path,
        load: Callable[[Any], T],
        dump: Callable[[T], object],
        *,
        durable: bool = False,
    ) -> None:
        self._file, self._lock, self._counter = file, lock, counter
        self._load, self._dump, self._durable = load, dump, durable
        self._seen = -1, load(None)  # one object: two threads may read the file at once

    @cached_property
    def turns(self) -> Counters:
        """Return the counter of the changes, in memory that all processes share."""
        return Counters(self._counter, 1)

    def watch(self) -> "FaultFile[T]":
        """Prepare for `current`, in a process of the lab: a tool that only reads writes no file."""
        self.turns.read(0)
        return self

    def current(self) -> T:
        """Return the faults, reading them again only after a change.

        As long as nothing changed, that is one comparison in memory that all processes share.
        """
        turn, (seen, faults) = self.turns.read(0), self._seen
        if turn != seen:
            faults = self.read()
            self._seen = turn, faults
        return faults

    def read(self) -> T:
        """Read the faults.

        Raises:
            ValueError: somebody else wrote to the file.
        """
        try:
            with making_sense_of(self._file):
                return self._load(json.loads(self._file.read_text()))
        except FileNotFoundError:
            return self._load(None)

    @contextmanager
    def edit(self) -> Iterator[T]:
        """Hand out the faults to be changed in a block, while nobody else changes them."""
        with locked(self._lock):
            faults = self.read()
            before = self._dump(faults)
            yield faults
            if self._dump(faults) != before:
                self._write(faults)

    def clear(self) -> None:
        """Remove all faults, without reading them: the file may be broken."""
        with locked(self._lock):
            self._write(self._load(None))

    def _write(self, faults: T) -> None:
        if faults:
            write_whole(self._file, json.dumps(self._dump(faults)), durable=self._durable)
        else:  # on a full disk too; a rename would be no more durable
            self._file.unlink(missing_ok=True)
        self.turns.add(0)
