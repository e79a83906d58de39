"""A process that leases a worker number and makes ids without end, and what it made.

    python -m tests.containers.zookeeper.holder HOME ADDRESS RESERVE_MS

prints each id, or `refused`, and where it was refused it tries again.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.home import Home
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS, IdMaker, NothingReserved
from labkit.runtime.registry.zookeeper import ZooKeeperRegistry
from labkit.waiting import wait_until

_PACE_SECONDS = 0.001  # each id is then the first of its millisecond: two with one number collide


class Holder:
    """A running process of this kind.

    Args:
        home: whose tree.
        address: of the ensemble.
        reserve_ms: how far ahead it reserves.
    """

    def __init__(self, home: Home, address: str, reserve_ms: int) -> None:
        command = [sys.executable, "-m", __name__, str(home.folder), address, str(reserve_ms)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        self.said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: self.said, "it makes ids", timeout=30)

    @property
    def ids(self) -> list[int]:
        """All that it has made so far."""
        return [int(number) for number in list(self.said) if number != "refused"]

    def more(self) -> None:
        """Wait until it has made some more."""
        before = len(self.ids)
        wait_until(lambda: len(self.ids) > before + 50, "it makes more ids", timeout=30)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.endswith("\n"):  # what a killed process did not finish saying is no id
                self.said.append(line.strip())


def worker_of(number: int) -> int:
    """The worker number that an id bears."""
    return number >> SEQUENCE_BITS & WORKERS - 1


@contextmanager
def holding(home: Home, address: str, reserve_ms: int) -> Iterator[Holder]:
    """A holder for a block, killed at its end."""
    holder = Holder(home, address, reserve_ms)
    try:
        yield holder
    finally:
        holder.process.kill()
        holder.process.wait()


def main() -> None:
    """Make ids until killed."""
    registry = ZooKeeperRegistry(Home(sys.argv[1]), sys.argv[2])
    ids = IdMaker(registry.lease_worker(int(sys.argv[3])), wall_ms)
    while True:
        try:
            print(ids.next(), flush=True)
        except NothingReserved:
            print("refused", flush=True)
        time.sleep(_PACE_SECONDS)


if __name__ == "__main__":
    main()
