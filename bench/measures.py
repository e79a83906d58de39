"""Everything that `labkit bench` measures, one after the other, in one run."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from bench import faults, floor, kills
from bench.figures import Figure
from bench.fill import fill
from bench.ground import Ground, Run, ground, prepare
from bench.load import percentile
from bench.peers import rates_at
from bench.unsafe import unsafe_ground
from labkit.home import Home

CLIENTS = (1, 8, 64, 128)
_MANY_CLIENTS = 64
_PAYING_CLIENTS = 32
_OPEN_SHARE = 0.6  # of the rate of the closed loop


@dataclass(frozen=True)
class Pace:
    """The length of each measurement; times in seconds.

    Attributes:
        warm: of load that does not count, before each load.
        load: of each load.
        floor: of the floor.
        idle: of doing nothing.
        ups: how often the lab is started to see how long it takes.
        rounds: of load on each of two labs that are compared.
        failing: orders that fail at confirm.
        kills: how often each process is killed under load.
        orders_before: orders that stand in the tables already; 0 leaves that out.
    """

    warm: float
    load: float
    floor: float
    idle: float
    ups: int
    rounds: int
    failing: int
    kills: int
    orders_before: int

    @property
    def loaded(self) -> float:
        """Return how long one lab is under load at a stretch."""
        return self.warm + self.load

    @property
    def compared(self) -> float:
        """Return how long a lab is under load where two are compared."""
        return self.rounds * self.loaded


FULL = Pace(
    warm=2, load=8, floor=8, idle=10, ups=3, rounds=3, failing=100, kills=2, orders_before=1_000_000
)
QUICK = Pace(
    warm=0.5, load=1.5, floor=2, idle=3, ups=1, rounds=1, failing=20, kills=1, orders_before=0
)


class Typical(NamedTuple):
    """The medians of several loads: orders a second, and milliseconds of CPU an order."""

    rate: float
    cpu_ms: float

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Self:
        """Of these loads."""
        each = [(run.rate, run.stack_ms) for run in runs]
        return cls(*map(statistics.median, zip(*each, strict=True)))


class Bench:
    """One run of all measures.

    Args:
        folder: an empty one, for the labs that are measured.
        pace: how long to measure.
        progress: told what is being measured.

    Attributes:
        rates: clients → orders a second that are wanted.
    """

    rates: ClassVar[Mapping[int, str]] = {8: ">=500", 64: ">=1200", 128: ">=1300"}

    def __init__(self, folder: Path, pace: Pace, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._pace = pace
        self._progress = progress
        self._failures = Counter[str]()
        self._base: Run

    def run(self) -> Iterator[Figure]:
        """Measure, and give each figure as it is known."""
        self._progress("the floor")
        lowest = floor.measure(self._pace.floor, self._folder)
        yield from self._start()
        with ground(self._folder / "lab") as lab:
            yield from self._idle(lab)
            yield from self._loads(lab)
            yield from self._floor(lowest)
            yield from self._cpu()
            yield from self._failpoints()
            yield from self._paying(lab)
            yield from self._faults(lab)
            yield from self._kills(lab)
            yield from self._safety(lab)
            yield from self._tracing(lab)
            yield from self._orders_before(lab)
        yield Figure("answers other than 200 under load", self._failures.total(), "", "<=0")

    def failures(self) -> dict[str, int]:
        """Return every answer under load that was not 200, and how often it came."""
        return dict(self._failures)

    def _start(self) -> Iterator[Figure]:
        self._progress("labkit up")
        took = [
            faults.up_seconds(Home(self._folder / f"up-{number}"))
            for number in range(self._pace.ups)
        ]
        yield Figure("labkit up", statistics.median(took), "s", "<=2")

    def _idle(self, lab: Ground) -> Iterator[Figure]:
        cores = self._cores_idle(lab)
        yield Figure("memory of the stack, idle (PSS)", lab.pss_mb(), "MB", "<=250")
        yield Figure("CPU of the stack, idle", cores, "cores", "<=0.05")

    def _cores_idle(self, lab: Ground) -> float:
        self._progress("doing nothing")
        lab.settle()
        before, began = lab.cpu_seconds(), time.monotonic()
        time.sleep(self._pace.idle)
        burnt = sum(lab.cpu_seconds().values()) - sum(before.values())
        return burnt / (time.monotonic() - began)

    def _loads(self, lab: Ground) -> Iterator[Figure]:
        for clients in CLIENTS:
            lab.reset_for(self._pace.loaded)
            run = self._put(lab, clients)
            if clients == _MANY_CLIENTS:
                self._base = run
            who = f"{clients} client{'s' * (clients > 1)}"
            rate, peers = self.rates.get(clients), rates_at(clients)
            yield Figure(f"orders, {who}", run.rate, "1/s", rate, peers=peers)
            yield Figure(
                f"p50, {who}", run.summary["p50_ms"], "ms", "<=6" if clients == 1 else None
            )
            yield Figure(f"p99, {who}", run.summary["p99_ms"], "ms")

    def _floor(self, lowest: dict[str, float]) -> Iterator[Figure]:
        share = self._base.rate / lowest["orders_per_s"]
        yield Figure("floor: the steps alone", lowest["orders_per_s"], "1/s")
        yield Figure("orders, 64 clients, of the floor", share, "", ">=0.5")
        yield Figure("CPU of an order, floor", lowest["cpu_ms"], "ms")

    def _cpu(self) -> Iterator[Figure]:
        yield Figure("CPU of an order, stack", self._base.stack_ms, "ms")
        for process, burnt in self._base.cpu_ms.items():
            yield Figure(f"CPU of an order, {process}", burnt, "ms")

    def _failpoints(self) -> Iterator[Figure]:
        crossing = faults.crossing_ns(self._folder / "crossing")
        share = _percent(crossing * self._base.crossings, 1e6 * self._base.stack_ms)
        yield Figure("crossing an unarmed failpoint", crossing, "ns")
        yield Figure("crossings of an order", self._base.crossings, "")
        yield Figure("unarmed failpoints, of an order's CPU", share, "%", "<=0.5")

    def _paying(self, lab: Ground) -> Iterator[Figure]:
        """Closed loop for the rate; then an open one below it, for the times that users see."""
        self._progress(f"paying, {_PAYING_CLIENTS} clients")
        lab.reset_for(self._pace.loaded + self._pace.load)
        self._pay(lab, self._pace.warm)
        closed = self._pay(lab, self._pace.load)["paid_per_s"]
        below = self._pay(lab, self._pace.load, _OPEN_SHARE * closed)
        yield Figure("orders paid and heard of, 32 clients", closed, "1/s", ">=300")
        yield Figure("callback answered, p50", below["callback_p50_ms"], "ms")
        yield Figure("callback answered, p99", below["callback_p99_ms"], "ms", "<=50")
        yield Figure("paid to all heard of it, p50", below["heard_p50_ms"], "ms", "<=60")
        yield Figure("paid to all heard of it, p99", below["heard_p99_ms"], "ms", "<500")

    def _pay(self, lab: Ground, seconds: float, rate: float = 0) -> dict[str, Any]:
        figures = lab.pay(_PAYING_CLIENTS, seconds, rate)
        self._failures.update(figures["outcomes"])
        del self._failures["200"]
        return figures

    def _faults(self, lab: Ground) -> Iterator[Figure]:
        self._progress("failing confirms")
        took = faults.give_back_ms(lab, self._pace.failing)
        yield Figure("failing confirm to all given back, p50", percentile(took, 50), "ms")
        yield Figure("failing confirm to all given back, p99", percentile(took, 99), "ms", "<=60")
        self._progress("killing services")
        back = max(faults.back_seconds(lab.home).values())
        yield Figure("killed service answers again, slowest", back, "s", "<1")

    def _kills(self, lab: Ground) -> Iterator[Figure]:
        """Of every kind of process; p99 of so few is the slowest, and whose that was is told."""
        self._progress("killing every process under load")
        deaths = kills.kill_each(lab, self._pace.kills)
        for what, label, target in (
            ("calls", "calls answered again", "<3"),
            ("messages", "messages consumed", "<=3"),
            ("decided", "every order decided", "<15"),
        ):
            slowest = max(deaths.each, key=attrgetter(what))
            name = f"kill -9 under load: {label}, p99"
            yield Figure(name, getattr(slowest, what), "s", target, slowest.process)
        yield Figure("kill -9 under load: orders acknowledged and lost", deaths.lost, "", "<=0")

    def _safety(self, lab: Ground) -> Iterator[Figure]:
        cost = cpu = None
        home = self._prepare("unsafe")
        with unsafe_ground(home.folder) as unsafe:
            if unsafe:
                safe, free = self._compare(lab, unsafe)
                cost = _percent(free.rate - safe.rate, free.rate)
                cpu = _percent(safe.cpu_ms - free.cpu_ms, safe.cpu_ms)
        yield Figure("safety: orders/s that it costs, 64 clients", cost, "%", "<15")
        yield Figure("safety: share of an order's CPU", cpu, "%")

    def _tracing(self, lab: Ground) -> Iterator[Figure]:
        home = self._prepare("traced")
        with ground(home.folder, traced=True) as traced:
            off, on = self._compare(lab, traced)
        cost = _percent(off.rate - on.rate, off.rate)
        cpu = _percent(on.cpu_ms - off.cpu_ms, on.cpu_ms)
        yield Figure("tracing every request: orders/s that it costs", cost, "%", "<=15")
        yield Figure("tracing every request: share of an order's CPU", cpu, "%")

    def _orders_before(self, lab: Ground) -> Iterator[Figure]:
        share, many = None, self._pace.orders_before
        if many:
            home = self._prepare("full")
            self._progress(f"writing {many:,} orders")
            fill(home, many)
            with ground(home.folder) as full:
                none, before = self._compare(lab, full)
            share = before.rate / none.rate if none.rate else None
        yield Figure("orders with 1,000,000 before, of none", share, "", ">=0.9")

    def _compare(self, used: Ground, fresh: Ground) -> tuple[Typical, Typical]:
        """Load two labs in turn, so that a machine that grows slower meanwhile does not decide.

        Args:
            used: is reset before.
            fresh: a new lab, with all that it needs.
        """
        used.reset_for(self._pace.compared)
        rounds = [(self._put(used), self._put(fresh)) for _ in range(self._pace.rounds)]
        of_used, of_fresh = zip(*rounds, strict=True)
        return Typical.of(of_used), Typical.of(of_fresh)

    def _prepare(self, name: str) -> Home:
        home = Home(self._folder / name)
        prepare(home, self._pace.compared)
        return home

    def _put(self, lab: Ground, clients: int = _MANY_CLIENTS) -> Run:
        self._progress(f"{clients} clients, {lab.home.folder.name}")
        run = lab.load(clients, self._pace.warm, self._pace.load)
        self._failures.update(run.failures)
        return run


def _percent(part: float, whole: float) -> float | None:
    """None where there is no whole: not one order was placed."""
    return 100 * part / whole if whole else None
