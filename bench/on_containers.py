"""The measures of `labkit bench --stack containers`: the lab on MySQL, Kafka and ZooKeeper."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench import faults, measures
from bench.figures import Figure
from bench.ground import Ground, ground
from bench.recovery import recover
from bench.servers import Servers, servers
from labkit.home import Home
from labkit.stack.setup.backends import Stack

_BUSIEST = "order"
_RATE = 100  # orders a second while a server is killed


@dataclass(frozen=True)
class _Server:
    """One of the servers, as `recover` treats it."""

    servers: Servers
    name: str

    def kill(self) -> None:
        self.servers.kill(self.name)

    def start(self) -> None:
        self.servers.up()


class Bench(measures.Bench):
    """One run of all measures that concern the servers."""

    rates: ClassVar[Mapping[int, str]] = {1: ">=110", 8: ">=340", 64: ">=690", 128: ">=800"}

    def run(self) -> Iterator[Figure]:
        """Measure, and give each figure as it is known."""
        with servers() as own:
            yield from self._up()
            with ground(self._folder / "lab", own.up(), own.cpu_seconds) as lab:
                yield from self._idle_on(lab, own)
                yield from self._loads(lab)
                yield from self._cpu()
                yield from self._instances(lab)
                yield from self._recoveries(lab, own)
        yield Figure("answers other than 200 under load", self._failures.total(), "", "<=0")

    def _up(self) -> Iterator[Figure]:
        self._progress("labkit up, from nothing")
        nothing = faults.up_seconds(Home(self._folder / "first"), Stack.containers)
        self._progress("labkit up, the servers are there")
        again = [
            faults.up_seconds(Home(self._folder / f"up-{number}"), Stack.containers)
            for number in range(self._pace.ups)
        ]
        yield Figure("labkit up, from nothing", nothing, "s", "<25")
        yield Figure("labkit up, the servers are there", statistics.median(again), "s", "<7")

    def _idle_on(self, lab: Ground, own: Servers) -> Iterator[Figure]:
        cores = self._cores_idle(lab)
        yield Figure("memory of the processes, idle (PSS)", lab.pss_mb(), "MB")
        yield Figure("memory of the servers, idle", own.memory_mb(), "MB")
        yield Figure("CPU of both, idle", cores, "cores")

    def _instances(self, lab: Ground) -> Iterator[Figure]:
        """Put the same load on one instance of the busiest service and on two, in turn."""
        lab.reset_for(2 * self._pace.compared)
        alone, doubled = [], []
        for _ in range(self._pace.rounds):
            alone.append(self._put(lab).rate)
            lab.scale(_BUSIEST, 2)
            doubled.append(self._put(lab).rate)
            lab.scale(_BUSIEST, 1)
        for rates, instances in ((alone, "1 instance"), (doubled, "2 instances")):
            name = f"orders, 64 clients, {instances} of {_BUSIEST}"
            yield Figure(name, statistics.median(rates), "1/s")

    def _recoveries(self, lab: Ground, own: Servers) -> Iterator[Figure]:
        for name, server in (("mysql", "MySQL"), ("kafka", "Kafka")):
            self._progress(f"killing {server}")
            recoveries = recover(lab, _Server(own, name), _RATE)
            yield Figure(f"{server} killed: serves its clients again after", recoveries.server, "s")
            yield Figure(
                f"{server} killed: from then to an order placed", recoveries.orders, "s", "<5"
            )
            yield Figure(
                f"{server} killed: and all of one given back", recoveries.messages, "s", "<5"
            )
            yield Figure(f"{server} killed: orders acknowledged", recoveries.placed, "")
            yield Figure(f"{server} killed: of them lost", recoveries.lost, "", "<=0")
