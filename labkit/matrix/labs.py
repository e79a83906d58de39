"""Parallel labs: each in a home of its own, with short time-outs, and used by one thread."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.client import Client
from labkit.matrix.mixes import mix_releases
from labkit.ops.history import History
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.releases.schema import make_ready
from labkit.stack.releases.seeding import seed_for_all
from labkit.stack.setup.backends import Backends, Stack
from labkit.stack.setup.seeds import Seeds, files
from labkit.stack.supervisor import launch

#: Opening amounts, enough for hundreds of orders; coupons belong to the two users in turn.
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
#: With these, a call outlasts the restart of a killed process on a busy machine, and is retried.
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
    """A lab that a script may take down, or kill, and bring up again.

    Args:
        home: of the lab.
        ground: its backends, with their settings.
        instances: service → how many processes; one of each by default.
    """

    def __init__(
        self, home: Home, ground: Backends, instances: Mapping[str, int] | None = None
    ) -> None:
        self._ground = ground
        super().__init__(home, launch.up(home, instances, ground, dies_with_us=True))

    def bring_up(self) -> None:
        """Start the lab again where it is not up, as a person would.

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


def settings(patient: bool = False) -> dict[str, str]:
    """Return the settings of a lab of the matrix, as `LABKIT_…` has them."""
    return _TIMES | (_PATIENT if patient else {})


def open_lab(folder: Path, mix: int = 0, patient: bool = False) -> RunnerLab:
    """Start a lab with large stocks and a stopped lab clock; it ends with this process.

    Args:
        folder: its home.
        mix: of releases, where an earlier one is to run beside ours.
        patient: multiply the time-outs of its calls by four.
    """
    home = Home(folder)
    mix_releases(home, mix)
    seed_for_all(home, files(home.make().databases), _SEEDS, as_time(wall_ms()))
    make_ready(home)
    History(home).start()  # the invariants compare every answer with the tables
    ground = Backends(Stack.embedded, servers=settings(patient))
    lab = RunnerLab(home, ground)
    lab.clock.stop()
    return lab


def reset_lab(lab: RunnerLab) -> None:
    """Bring a lab up where it is down, and put the first data back."""
    lab.bring_up()  # a script may have left it down
    lab.reset(**reset_seeds())


def reset_seeds() -> dict[str, int]:
    """Return the amounts with which `reset` puts the first data back."""
    return _SEEDS.model_dump(exclude_none=True)


@contextmanager
def parallel_labs(
    folder: Path, number: int, patient: bool = False, first_mix: int = 0
) -> Iterator[list[RunnerLab]]:
    """Start labs for a block, and take them down; see `open_lab`."""
    with ThreadPoolExecutor(number) as pool:
        folders = [folder / f"lab-{index}" for index in range(1, number + 1)]
        labs = list(pool.map(partial(open_lab, patient=patient), folders, count(first_mix)))
        try:
            yield labs
        finally:
            list(pool.map(Lab.down, labs))


def map_unordered(workers: list[W], work: Callable[[W, T], A], items: Iterable[T]) -> Iterator[A]:
    """Apply a function to items on several workers; a free worker takes the next item.

    Args:
        workers: each is used by one thread.
        work: called with a worker and an item.
        items: taken in their order.

    Yields:
        The results, in the order in which they come.

    Raises:
        Exception: raised by `work`; the other workers end the item that they have begun.
    """
    waiting, results = deque(items), SimpleQueue[A | BaseException]()
    number = len(waiting)

    def run(worker: W) -> None:
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            try:
                results.put(work(worker, item))
            except BaseException as error:  # raised below, in the thread of the caller
                results.put(error)

    with ThreadPoolExecutor(len(workers)) as pool:
        for worker in workers:
            pool.submit(run, worker)
        try:
            for _ in range(number):
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            waiting.clear()
