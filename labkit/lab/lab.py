"""The lab as a notebook uses it: start, order, look before and after, break, settle, check."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from labkit.faults import Faults, mend
from labkit.home import Home
from labkit.lab import reports
from labkit.lab.buyer import Buyer
from labkit.lab.clock import Clock
from labkit.lab.display.changes import Changes, Tables
from labkit.lab.display.frames import Table
from labkit.lab.manual import ConsoleLink, ManualOperations
from labkit.ops import in_flight, payments_in_flight
from labkit.ops.history import History
from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import Reader
from labkit.ops.reconcile import Reconciler, fetch_bill
from labkit.ops.trace import draw
from labkit.ops.trace.diagram import Diagram
from labkit.runtime.clock import LabClock
from labkit.runtime.db.engines import open_engine
from labkit.settings import Settings
from labkit.stack.releases import rolling
from labkit.stack.releases.unpack import find
from labkit.stack.setup.backends import Stack, choose
from labkit.stack.supervisor import control, launch
from labkit.waiting import poll_until, wait_until

_POLL_SECONDS = 0.05
#: The highest number of rows of a table that are read at once.
_PAGE_ROWS = 10_000
_NOTIFIED_SECONDS = 2.0
#: When business time begins in a notebook; it moves only when the notebook advances it.
START = datetime(2026, 1, 5, 9, 0)


def _quiet(_line: str) -> None:
    """Show no progress: a notebook's outputs must be the same on every run."""


class NotSettled(Exception):
    """Something is still in flight; the message says what, and why where that is known.

    Args:
        items: of `in_flight`.
    """

    def __init__(self, items: Sequence[PendingItem]) -> None:
        super().__init__(
            "; ".join(
                ": ".join(filter(None, [f"{item['what']} (order {item['order']})", item["cause"]]))
                for item in items[:5]
            )
        )


class Lab(Buyer):
    """A running shop, and everything that a learner does with it; a `Buyer` orders and pays.

    Args:
        home: of the lab.
        supervisor: its process, where this process has started it.
    """

    def __init__(self, home: Home, supervisor: "subprocess.Popen[bytes] | None" = None) -> None:
        mend(home)
        self.home = home
        self._supervisor = supervisor
        super().__init__(launch.status(home)["endpoints"], Reader(home))
        self.clock = Clock(LabClock(home.clock_file))
        self.faults = Faults(home)
        self.by_hand = ManualOperations(home)

    @classmethod
    def up(
        cls,
        home: Path | str = ".lab",
        instances: Mapping[str, int] | None = None,
        *,
        history: bool = False,
    ) -> Self:
        """Start a lab that lives as long as this process, or join the one that is up.

        With `LABKIT_STACK=containers` it uses MySQL, Kafka and ZooKeeper in containers, which
        outlive it.

        Args:
            home: its folder; two homes never touch each other.
            instances: service → how many processes. Defaults to one of each.
            history: record clients' requests and their answers (`client.history`), so that `check`
                can compare them with the tables. Once started, recording goes on for as long as
                the home has the file.

        Raises:
            RuntimeError: it cannot come up; one line that says what to do.
        """
        place = Home(home)
        backends = (
            launch.EMBEDDED if launch.is_up(place) else choose(Stack(Settings().stack), _quiet)
        )
        supervisor = launch.up(place, instances, backends, dies_with_us=True, traced=True)
        if history:
            History(place).start()
        return cls(place, supervisor)

    def down(self) -> None:
        """Stop everything."""
        self._reader.close()
        self.client.http.close()
        launch.down(self.home)
        if self._supervisor:
            self._supervisor.wait()

    def reset(self, **seeds: int) -> None:
        """Put the first data back, disarm all faults, and stop the lab clock at its start.

        Args:
            seeds: `goods`, `users`, `stock`, `balance` (cents), `coupons`: other amounts.
        """
        control.tell(self.home, "reset", clock=START.isoformat(), **seeds)
        self._tables.forget_names()
        self._reader.close()

    def scale(self, **instances: int) -> None:
        """Start more processes of a service, or let its last ones finish and end.

        Args:
            instances: service → how many, as `scale(goods=2)`; `order_web` stands for `order-web`.

        Raises:
            RuntimeError: there is no such service, or it cannot have so many.
        """
        named = {name.replace("_", "-"): number for name, number in instances.items()}
        control.tell(self.home, "scale", **named)

    def upgrade(self, *services: str, to: str, contract: bool = False) -> list[str]:
        """Take services to another release, process by process, while they work; or back again.

        Args:
            services: their names. Defaults to all.
            to: number of the release, or its folder.
            contract: then drop what only earlier releases use: there is no way back after it.

        Returns:
            What was done, line by line.

        Raises:
            RuntimeError: a service cannot be taken there, and is where it was.
            ValueError: there is no such service or release.
        """
        lines: list[str] = []
        rolling.upgrade(self.home, find(self.home, to), lines.append, services, contract=contract)
        return lines

    def tables(
        self, *names: str, raw: bool = False, limit: int = _PAGE_ROWS, page: int | None = None
    ) -> Table | Tables:
        """Read tables as frames, with short names for ids.

        Args:
            names: one name gives a frame, several give all of them to be shown together.
            raw: every column, as the database holds it.
            limit: the highest number of rows.
            page: which page of so many rows, from 1. Defaults to the last.
        """
        frames = {name: self._tables.frame(name, limit, page, raw) for name in names}
        return frames[names[0]] if len(names) == 1 else Tables(frames)

    @contextmanager
    def database(self, service: str) -> Iterator[Connection]:
        """Open a transaction in the database of a service, behind the service's back.

        Args:
            service: as `goods`; `platform` is the payment platform's.

        Raises:
            KeyError: there is no such database.
        """
        engine = open_engine(launch.status(self.home)["databases"][service])
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextmanager
    def watch(self, *names: str, settle: bool = True) -> Iterator[Changes]:
        """Read tables before and after a block, to show what it changed.

        Args:
            names: of the tables.
            settle: wait until nothing is in flight before reading them again.
        """
        before = {name: self._reader.table(name) for name in names}
        changes = Changes()
        yield changes
        if settle:
            self.settle()
        self._tables.load_names()
        changes.differences = [self._tables.difference(name, before[name]) for name in names]

    def settle(self, timeout: float = 30) -> None:
        """Wait until nothing is in flight.

        Raises:
            NotSettled: something still is after `timeout` seconds.
        """
        items = in_flight.settle(self._reader, timeout)
        if items:
            raise NotSettled(items)
        poll_until(  # the platform's own notes are no part of the shop, but a notebook shows them
            lambda: not payments_in_flight.is_notifying(self._reader, self.clock.now()),
            _NOTIFIED_SECONDS,
            _POLL_SECONDS,
        )

    def bill(self, day: date | None = None) -> str:
        """Fetch the payment platform's bill (对账单) of a business day as CSV. Defaults to today.

        Raises:
            RuntimeError: the platform gave none.
        """
        return fetch_bill(self.home, day or self.clock.now().date())

    def reconcile(self, day: date | None = None, *, repair: bool = True) -> Table:
        """Compare a day's bill with the shop's payments and refunds (对账), and repair them.

        Args:
            day: a business day. Defaults to today.
            repair: repair what has one right answer.

        Raises:
            RuntimeError: the platform gave no bill.
        """
        business_day = day or self.clock.now().date()
        lines = Reconciler.of(self.home, self._reader).run(business_day, repair=repair)
        return reports.reconciliation_report(lines, self._tables)

    def trace(self, order_id: int | str, *, settle: bool = True) -> Diagram:
        """Draw what happened to one order, in every process, as a sequence diagram.

        Args:
            order_id: of the order.
            settle: wait until nothing is in flight, so that its messages are in the picture.

        Raises:
            NotTraced: the order left no trace; a lab that `Lab.up` started traces every request.
        """
        if settle:
            self.settle()
        return draw.draw(self.home.traces, str(order_id), self.alias)

    def until(self, condition: Callable[[], bool], timeout: float = 15) -> None:
        """Wait until a condition is true.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
        """
        wait_until(condition, "the condition is true", timeout, _POLL_SECONDS)

    def check(self) -> Table:
        """Check the invariants: whether each holds, how many rows it read, what must be true."""
        return reports.invariants_report(self.home, self._reader, self.alias)

    @property
    def console(self) -> ConsoleLink:
        """Return the address of the operator console, which shows stuck items, with buttons."""
        return ConsoleLink.of(self.home)

    def in_flight(self) -> Table:
        """List what is in flight, stuck or not; the lab has settled when it is empty.

        Tries, and when the next one is, are in `stuck(raw=True)` and on the console.
        """
        return reports.in_flight_report(in_flight.in_flight(self._reader), self.alias)

    def stuck(self, *, raw: bool = False) -> Table:
        """List what waits or failed, of which order, and why.

        Args:
            raw: with ids, for `by_hand`, with tries, and when the next one is (wall-clock ms).
        """
        return reports.stuck_report(in_flight.stuck(self._reader), self.alias, raw=raw)

    def services(self) -> Table:
        """List the processes of the lab, the broker first, and the database of each."""
        return reports.services_report(self.home)

    def wiring(self) -> Table:
        """List each topic with its consumer groups and their handlers."""
        return reports.wiring_report()
