"""Labs side by side: each in a home of its own, with short times, played on by one thread."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.client import Client
from labkit.ops.history import History
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.setup.backends import Ground, Stack
from labkit.stack.setup.seeds import Seeds, files, seed
from labkit.stack.supervisor import launch

#: What the labs open with: enough for hundreds of orders; the coupons are of both users in turn.
STOCK, BALANCE, COUPONS = 1_000_000, 10**11, 1_000
RETRY_LIMIT = 3
#: An outage heals in about a second instead of five, so that thousands fit into a run.
_TIMES = {
    "LABKIT_TRACING": "off",
    "LABKIT_GROUP_SESSION": "0.6",
    "LABKIT_AUDIT_DELAY": "0.2",
    "LABKIT_CALL_TIMEOUT": "1",  # whatever is set around: a cell may delay a call beyond it
    "LABKIT_FLOW_TIMEOUT": "2.5",
    "LABKIT_UNCONFIRMED_DEADLINE": "3",
    "LABKIT_SWEEP_INTERVAL": "0.2",
    "LABKIT_OUTBOX_LEASE": "0.8",
    "LABKIT_CHECK_FIRST": "0.4",
    "LABKIT_CHECK_MAX": "2",
    "LABKIT_RETRY_FIRST": "0.1",
    "LABKIT_RETRY_LIMIT": str(RETRY_LIMIT),
}
#: Who asked a process that was killed finds it back on a busy machine too, and asks again.
_PATIENT = {
    "LABKIT_CALL_TIMEOUT": "4",
    "LABKIT_FLOW_TIMEOUT": "10",
    "LABKIT_UNCONFIRMED_DEADLINE": "15",
}
_SEEDS = Seeds(users=2, stock=STOCK, balance=BALANCE, coupons=COUPONS)

W = TypeVar("W")
T = TypeVar("T")
A = TypeVar("A")


class RunnerLab(Lab):
    """A lab that a story may take down, or kill, and bring up again.

    Args:
        home: where it lives.
        ground: what it stands on, with its settings.
    """

    def __init__(self, home: Home, ground: Ground) -> None:
        self._ground = ground
        super().__init__(home, launch.up(home, None, ground, dies_with_us=True))

    def bring_up(self) -> None:
        """Start it again, where it is not up, as a person would.

        Raises:
            RuntimeError: it does not come up.
        """
        supervisor = launch.up(self.home, None, self._ground, dies_with_us=True)
        if supervisor is None:
            return
        if self._supervisor:
            self._supervisor.wait()
        self._supervisor = supervisor
        self._reader.close()
        self.client.http.close()
        self.client = Client(launch.status(self.home)["endpoints"], self._reader)

    def was_killed(self) -> bool:
        """Return True if the supervisor, which has ended, was killed with −9."""
        assert self._supervisor  # a lab of the matrix was started by us
        return self._supervisor.wait() == -signal.SIGKILL


def open_lab(folder: Path, patient: bool = False) -> RunnerLab:
    """A lab that has much to sell and goes when this process goes; its lab clock stands still.

    Args:
        folder: its home.
        patient: its calls have four times as long.
    """
    home = Home(folder)
    seed(files(home.make().databases), _SEEDS, as_time(wall_ms()))
    History(home).keep()  # what customers are told, whoever they are, must be so
    ground = Ground(Stack.embedded, servers=_TIMES | (_PATIENT if patient else {}))
    lab = RunnerLab(home, ground)
    lab.clock.stop()
    return lab


def begin_anew(lab: RunnerLab) -> None:
    """Put everything back, after something broke, or where much has gathered."""
    lab.bring_up()  # a story may have left it down
    lab.reset(**seeds())


def seeds() -> dict[str, int]:
    """What the labs are reset to."""
    return _SEEDS.model_dump(exclude_none=True)


@contextmanager
def side_by_side(folder: Path, number: int, patient: bool = False) -> Iterator[list[RunnerLab]]:
    """So many labs for a block; see `open_lab`."""
    with ThreadPoolExecutor(number) as pool:
        folders = [folder / f"lab-{one}" for one in range(1, number + 1)]
        labs = list(pool.map(partial(open_lab, patient=patient), folders))
        try:
            yield labs
        finally:
            list(pool.map(Lab.down, labs))


def map_unordered(workers: list[W], work: Callable[[W, T], A], items: Iterable[T]) -> Iterator[A]:
    """Have workers do work side by side: whoever is free takes the next.

    Args:
        workers: each is used by one thread.
        work: what is done with an item.
        items: are taken in their order.

    Returns:
        What came of each, as it comes.

    Raises:
        Exception: what the work raised; the others end what they have begun.
    """
    left, done = deque(items), SimpleQueue[A | BaseException]()
    number = len(left)

    def run(worker: W) -> None:
        while True:
            try:
                item = left.popleft()
            except IndexError:
                return
            try:
                done.put(work(worker, item))
            except BaseException as error:  # told to who waits
                done.put(error)

    with ThreadPoolExecutor(len(workers)) as pool:
        for worker in workers:
            pool.submit(run, worker)
        try:
            for _ in range(number):
                one = done.get()
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            left.clear()
