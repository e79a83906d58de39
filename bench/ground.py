"""The lab that is measured, in a home of its own, and what its processes cost."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.fill import seeds_for
from labkit.faults import points
from labkit.home import Home
from labkit.ops import in_flight
from labkit.ops.reader import Reader
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.setup import backends
from labkit.stack.setup.seeds import files, seed
from labkit.stack.supervisor import control, launch

_MOST_A_SECOND = 2500  # orders that any machine places; each needs a coupon
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """The outcome of a load.

    Attributes:
        summary: what the load generator says: see `load.summary`.
        failures: every answer that was not 200, those of the warming-up too.
        cpu_ms: process → milliseconds of CPU an order; the generator's own among them.
        crossings: of failpoints, an order.
    """

    summary: dict[str, Any]
    failures: Counter[str]
    cpu_ms: dict[str, float]
    crossings: float

    @property
    def rate(self) -> float:
        """Orders placed a second."""
        return float(self.summary["orders_per_s"])

    @property
    def stack_ms(self) -> float:
        """Milliseconds of CPU that all processes of the lab spend on an order."""
        return sum(self.cpu_ms.values()) - self.cpu_ms["load generator"]


class Ground:
    """A running lab under measurement.

    Args:
        home: where it lives.
        server_seconds: name → CPU seconds so far of what works for the lab, but is not in it.
    """

    def __init__(
        self, home: Home, server_seconds: Callable[[], Mapping[str, float]] = dict[str, float]
    ) -> None:
        self.home = home
        self._server_seconds = server_seconds
        self._next = 1  # number of the order that comes next; each has a coupon of its own

    @property
    def url(self) -> str:
        """Of the order web."""
        return str(launch.status(self.home)["endpoints"]["order-web"])

    def reset(self, orders: int) -> None:
        """Start afresh, with what so many orders need."""
        control.tell(self.home, "reset", **seeds_for(orders).model_dump())
        self._next = 1

    def reset_for(self, seconds: float) -> None:
        """Start afresh, with more than a load of so long can place."""
        self.reset(_orders_in(seconds))

    def load(self, clients: int, warm: float, seconds: float) -> Run:
        """Let clients place orders; the first seconds do not count.

        Args:
            clients: how many.
            warm: seconds before.
            seconds: of the load.
        """
        failures = Counter(self._generate(clients, warm)["outcomes"] if warm else ())
        burnt, crossed = self.cpu_seconds(), self._crossed()
        figures = self._generate(clients, seconds)
        self.settle()
        orders = max(1, figures["sent"])
        failures.update(figures["outcomes"])
        del failures["200"]
        cpu = {
            name: 1000 * (now - burnt.get(name, 0)) / orders
            for name, now in self.cpu_seconds().items()
        }
        cpu["load generator"] = figures["cpu_ms"]
        return Run(figures, failures, cpu, (self._crossed() - crossed) / orders)

    def settle(self) -> None:
        """Wait until nothing is in flight.

        Raises:
            RuntimeError: something still is.
        """
        reader = Reader(self.home)
        unsettled = in_flight.settle(reader, _SETTLE_SECONDS)
        reader.close()
        if unsettled:
            raise RuntimeError(f"does not settle: {unsettled[0]['what']} ({len(unsettled)} in all)")

    def processes(self) -> dict[str, psutil.Process]:
        """Name → process, the broker and the supervisor among them."""
        status = launch.status(self.home)
        pids = {_name(process): process["pid"] for process in status["services"]}
        pids["supervisor"] = status["supervisor"]
        return {name: psutil.Process(pid) for name, pid in pids.items()}

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU that each process, and each server beneath it, has used so far."""
        times = {name: process.cpu_times() for name, process in self.processes().items()}
        return {
            **{name: spent.user + spent.system for name, spent in times.items()},
            **self._server_seconds(),
        }

    def pss_mb(self) -> float | None:
        """Memory of the whole lab, what processes share counted once; None where unknown."""
        kilobytes = [_pss_kb(process.pid) for process in self.processes().values()]
        sizes = [each for each in kilobytes if each is not None]
        return sum(sizes) / 1000 if len(sizes) == len(kilobytes) else None

    def pay(self, clients: int, seconds: float, rate: float = 0) -> dict[str, Any]:
        """Let clients place orders and pay them; see `pay_load.run` for the figures.

        Args:
            clients: how many.
            seconds: of the load.
            rate: orders a second that are begun; 0: as fast as they are done.
        """
        figures = self._run("pay_load", self.home.folder, clients, seconds, self._next, rate)
        self.settle()
        return figures

    def _generate(self, clients: int, seconds: float) -> dict[str, Any]:
        return self._run("load", self.url, clients, seconds, self._next)

    def _run(self, generator: str, *words: object) -> dict[str, Any]:
        """Run a load generator in a process of its own."""
        command = [sys.executable, "-P", "-m", f"bench.{generator}", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the load generator failed: {done.stderr.strip()[-400:]}")
        figures: dict[str, Any] = json.loads(done.stdout)
        self._next += figures["sent"]
        return figures

    def scale(self, service: str, instances: int) -> None:
        """Scale a service to so many processes."""
        control.tell(self.home, "scale", **{service: instances})

    def _crossed(self) -> int:
        return sum(int(point["hits"]) for point in points.list_all(self.home))


def prepare(home: Home, seconds: float) -> None:
    """Make the databases of a lab that never ran, with more than a load of so long can place."""
    seed(files(home.make().databases), seeds_for(_orders_in(seconds)), as_time(wall_ms()))


def _orders_in(seconds: float) -> int:
    return 1 + int(_MOST_A_SECOND * seconds)


@contextmanager
def ground(
    folder: Path,
    stands_on: backends.Backends = launch.EMBEDDED,
    server_seconds: Callable[[], Mapping[str, float]] = dict[str, float],
    *,
    traced: bool = False,
) -> Iterator[Ground]:
    """Run a lab for a block; it goes when this process goes.

    Args:
        folder: its home.
        stands_on: files, or servers.
        server_seconds: what those servers have used; see `Ground`.
        traced: whether it traces every request.
    """
    home = Home(folder)
    supervisor = launch.up(home, None, stands_on, dies_with_us=True, traced=traced)
    try:
        yield Ground(home, server_seconds)
    finally:
        launch.down(home)
        if supervisor:
            supervisor.wait()


def _name(process: Mapping[str, Any]) -> str:
    """Of a process; the first instance of a service bears just the service's."""
    name, number = process["name"], process["instance"]
    return f"{name}-{number}" if number > 1 else name


def _pss_kb(pid: int) -> int | None:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except FileNotFoundError:  # no Linux
        return None
    return int(rollup.partition("\nPss:")[2].split()[0])
