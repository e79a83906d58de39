"""Who serves what, and who may make ids under which number: the embedded registry.

A folder of leases. A lease is a file whose lock a living process holds: the system drops the lock
at the moment the process dies, however it dies, and keeps it while the process is only stopped.
Where the settings name a ZooKeeper, the same two facts are kept there (zookeeper.py).
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from labkit.home import take_lock, try_lock, write_whole
from labkit.runtime.clock import wall_ms
from labkit.runtime.injection import outages
from labkit.runtime.registry.ids import WORKERS, NothingReserved, WorkerLease


@dataclass(frozen=True)
class Instance:
    """One process that serves, and where it answers calls (`host:port`)."""

    service: str
    instance: int
    endpoint: str
    pid: int


class FileWorkerLease:
    """A worker number, held by this process through a file lock for as long as it lives.

    Args:
        path: the lease file; it keeps the highest time that ids under this number may bear.
        worker: the number.
        reserve_ms: how far ahead of use time is reserved.

    Ids bear later times than the file names when the lease is taken: those up to it may have been
    made by the number's last holder.
    """

    def __init__(self, path: Path, worker: int, reserve_ms: int) -> None:
        self._path = path
        self._reserve_ms = reserve_ms
        self._floor_ms = self._reserved_ms = reserved_in(path)
        self.worker = worker

    def reserve(self, until_ms: int) -> int:
        """Reserve on disk, a few seconds ahead, so that this is rare; never less than before.

        Raises:
            NothingReserved: the folder cannot be written, or the time is not later than the ids
                of the number's last holder.
        """
        if until_ms <= self._floor_ms:
            behind = self._floor_ms - until_ms
            text = f"the wall clock is {behind} ms behind what another process reserved as worker"
            raise NothingReserved(f"{text} {self.worker}: no ids until it has caught up")
        reserved = max(until_ms + self._reserve_ms, self._reserved_ms)
        try:
            write_whole(self._path, str(reserved), durable=True)
        except OSError as error:
            outages.count(outages.REGISTRY)
            raise NothingReserved(f"no time for ids could be reserved: {error.strerror}") from error
        self._reserved_ms = reserved
        return reserved


def reserved_in(path: Path) -> int:
    """Read up to which time ids of a number may exist; 0 where nobody has reserved any."""
    return int(path.read_text()) if path.exists() else 0


class Registry:
    """The registry of one home, in a folder.

    Args:
        folder: where the leases lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[float, list[Instance]]] = {}

    def announce(self, instance: Instance) -> None:
        """Say that this process serves now; it is taken back when the process dies.

        Raises:
            RuntimeError: another living process has announced the same instance.
        """
        lock = self._lease(instance.service, instance.instance)
        if take_lock(lock) is None:
            raise RuntimeError(f"{instance.service}-{instance.instance} is running already")
        write_whole(lock.with_suffix(".json"), json.dumps(asdict(instance)))

    def withdraw(self, service: str, instance: int) -> None:
        """Say that this process serves no more; calls go elsewhere from now on."""
        self._lease(service, instance).with_suffix(".json").unlink(missing_ok=True)

    def instances(self, service: str, fresh: float = 0) -> list[Instance]:
        """The living instances of a service, as they were `fresh` seconds ago at the oldest.

        Where the folder cannot be read, those who were there last.
        """
        seen = self._seen.get(service)
        if seen and time.monotonic() - seen[0] < fresh:
            return seen[1]
        try:
            living = self._read_all(service)
        except OSError:
            outages.count(outages.REGISTRY)
            living = seen[1] if seen else []
        self._seen[service] = (time.monotonic(), living)
        return living

    def lease_worker(self, reserve_ms: int) -> WorkerLease:
        """Take a worker number that no living process has and whose past is past.

        Raises:
            RuntimeError: all 1,024 numbers are taken.
        """
        folder = self.folder / "workers"
        folder.mkdir(exist_ok=True)
        for worker in range(WORKERS):
            lease = folder / f"{worker}.reserved"
            lock = try_lock(folder / f"{worker}.lock")
            if lock is None:
                continue
            if reserved_in(lease) < wall_ms():
                return FileWorkerLease(lease, worker, reserve_ms)
            os.close(lock)
        raise RuntimeError("all worker ids are leased: too many processes use this home")

    def close(self) -> None:
        """Be done with it; the locks go with the process."""

    def _lease(self, service: str, instance: int) -> Path:
        return self.folder / f"{service}.{instance}.lock"

    def _read_all(self, service: str) -> list[Instance]:
        """The same, as they are now; a `glob` would find nobody where there is no folder."""
        files = sorted(file for file in self.folder.iterdir() if file.match(f"{service}.*.json"))
        return [one for one in map(self._read, files) if one]

    def _read(self, path: Path) -> Instance | None:
        try:
            instance = Instance(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        probe = try_lock(path.with_suffix(".lock"), only_look=True)
        if probe is None:
            return instance
        os.close(probe)
        return None
