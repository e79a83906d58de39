"""The embedded registry: a folder of leases.

A lease is a file whose lock a living process holds: the system drops the lock at the moment the
process dies, however it dies, and keeps it while the process is only stopped. If the settings name
a ZooKeeper, the same facts are kept there (`zookeeper`).
"""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from labkit.files import take_lock, try_lock, write_whole
from labkit.runtime.clock import wall_ms
from labkit.runtime.injection import outages
from labkit.runtime.registry.ids import WorkerLease
from labkit.runtime.registry.leases import lease_worker
from labkit.runtime.registry.ports import Instance


class ReservedFile:
    """A file that notes the time up to which ids of a worker number may exist.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_ms(self) -> int:
        """Return the time; 0 if nobody has reserved any."""
        return int(self._path.read_text()) if self._path.exists() else 0

    def write_ms(self, until_ms: int) -> None:
        """Replace the time, on disk when this returns."""
        write_whole(self._path, str(until_ms), durable=True)


class LockedNumbers:
    """The worker numbers of a home: this process holds one through a file lock while it lives.

    Args:
        folder: the folder of the lock files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[int, int] = {}

    def hold(self, worker: int) -> ReservedFile | None:
        """Take a number; None if another living process has it."""
        lock = try_lock(self._folder / f"{worker}.lock")
        if lock is None:
            return None
        self._locks[worker] = lock
        return ReservedFile(self._folder / f"{worker}.reserved")

    def release(self, worker: int) -> None:
        """Give a number back."""
        os.close(self._locks.pop(worker))


class FolderRegistry:
    """The registry of one home, in a folder.

    Args:
        folder: the folder of the leases.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last_read: dict[str, tuple[float, list[Instance]]] = {}

    def announce(self, instance: Instance) -> None:
        """Announce that this process serves from now on, until it dies.

        Raises:
            RuntimeError: another living process has announced the same instance.
        """
        lock = self._lease(instance.service, instance.instance)
        held = take_lock(lock)
        if held is None:
            raise RuntimeError(f"{instance.service}-{instance.instance} is running already")
        try:
            write_whole(lock.with_suffix(".json"), json.dumps(asdict(instance)))
        except BaseException:  # or this process could not try it again
            os.close(held)
            raise

    def withdraw(self, service: str, instance: int) -> None:
        """Announce that this process serves no more; calls go elsewhere from now on."""
        self._lease(service, instance).with_suffix(".json").unlink(missing_ok=True)

    def instances(self, service: str, fresh: float = 0) -> list[Instance]:
        """Return the living instances of a service.

        If the folder cannot be read, these are the instances that were there last.

        Args:
            service: name of the service.
            fresh: how many seconds old the answer may be.
        """
        last = self._last_read.get(service)
        if last and time.monotonic() - last[0] < fresh:
            return last[1]
        try:
            living = self._read_all(service)
        except OSError:
            outages.count(outages.REGISTRY)
            living = last[1] if last else []
        self._last_read[service] = (time.monotonic(), living)
        return living

    def lease_worker(self, reserve_ms: int) -> WorkerLease:
        """Take a worker number that no living process has and whose reserved time is over.

        Args:
            reserve_ms: how far ahead of use time is reserved.

        Raises:
            RuntimeError: all 1,024 numbers are taken.
        """
        folder = self.folder / "workers"
        folder.mkdir(exist_ok=True)
        return lease_worker(LockedNumbers(folder), wall_ms, reserve_ms)

    def close(self) -> None:
        """Close the registry; the locks are dropped when the process ends."""

    def _lease(self, service: str, instance: int) -> Path:
        return self.folder / f"{service}.{instance}.lock"

    def _read_all(self, service: str) -> list[Instance]:
        # Not by `glob`, which finds nobody in a folder that cannot be read.
        files = sorted(file for file in self.folder.iterdir() if file.match(f"{service}.*.json"))
        return [instance for instance in map(self._read, files) if instance]

    def _read(self, path: Path) -> Instance | None:
        probe = try_lock(path.with_suffix(".lock"), only_look=True)
        if probe is not None:  # whoever wrote it is gone, and may have left a part of it
            os.close(probe)
            return None
        try:
            return Instance(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
