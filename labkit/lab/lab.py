"""The lab as a notebook sees it: start, order, look before and after, break, settle, check."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection

from labkit.faults import Faults, mend
from labkit.home import Home
from labkit.lab.client import Client
from labkit.lab.clock import Clock
from labkit.lab.display.answer import Answer
from labkit.lab.display.births import Births
from labkit.lab.display.changes import Seen, Tables
from labkit.lab.display.frames import SHOWN_ROWS, Aliases, Difference, Table, frame, only_changes
from labkit.lab.manual import ConsoleLink, ManualOperations
from labkit.ops import in_flight as flight
from labkit.ops import payments_in_flight
from labkit.ops.history import History
from labkit.ops.invariants import check as invariants
from labkit.ops.reader import Reader, Rows
from labkit.ops.reconcile import Reconciler, fetch_bill
from labkit.ops.trace import draw
from labkit.ops.trace.diagram import Diagram
from labkit.runtime.clock import LabClock
from labkit.runtime.db.engines import open_engine
from labkit.settings import Settings
from labkit.shop.wiring import SERVICES
from labkit.stack.setup.backends import Stack, choose
from labkit.stack.supervisor import control, launch, ports
from labkit.stack.supervisor.instances import BROKER
from labkit.waiting import wait_until

_POLL_SECONDS = 0.05
#: So many rows of a table are read at once: where there are more, the last.
_PAGE = 10_000
_TOLD_SECONDS = 2.0
_RECONCILED = ["kind", "order", "payment", "at the platform", "in the shop", "found", "done"]
#: When business time begins in a notebook; it moves only when the notebook advances it.
START = datetime(2026, 1, 5, 9, 0)


def _quiet(_line: str) -> None:
    """What is kept of a notebook is the same on every run."""


class NotSettled(Exception):
    """Something is still in flight; the message says what, and why where that is known.

    Args:
        left: of `flight.in_flight`.
    """

    def __init__(self, left: list[dict[str, Any]]) -> None:
        super().__init__(
            "; ".join(
                ": ".join(filter(None, [f"{one['what']} (order {one['order']})", one["cause"]]))
                for one in left[:5]
            )
        )


class Lab:
    """A running shop, and everything that a learner does with it.

    Args:
        home: where the lab lives.
        supervisor: its process, where this lab was started by us.
    """

    def __init__(self, home: Home, supervisor: "subprocess.Popen[bytes] | None" = None) -> None:
        mend(home)
        self.home = home
        self._supervisor = supervisor
        self._reader = Reader(home)
        self.client = Client(launch.status(home)["endpoints"], self._reader)
        self.clock = Clock(LabClock(home.clock_file))
        self.faults = Faults(home)
        self.by_hand = ManualOperations(home)
        self._forget_names()

    @classmethod
    def up(
        cls,
        home: Path | str = ".lab",
        instances: Mapping[str, int] | None = None,
        *,
        history: bool = False,
    ) -> Self:
        """Start a lab that lives as long as this process, or join the one that is up.

        `LABKIT_STACK=containers` has it stand on MySQL, Kafka and ZooKeeper in containers, which
        outlive it.

        Args:
            home: its folder; two homes never touch each other.
            instances: service → how many processes; one of each where not said.
            history: keep what clients ask and are told (`client.history`), so that `check` can
                compare it with the tables. Once kept, it is for as long as the home has the file.

        Raises:
            RuntimeError: it cannot come up; one line that says what to do.
        """
        where = Home(home)
        backends = (
            launch.EMBEDDED if launch.is_up(where) else choose(Stack(Settings().stack), _quiet)
        )
        supervisor = launch.up(where, instances, backends, dies_with_us=True, traced=True)
        if history:
            History(where).keep()
        return cls(where, supervisor)

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
            seeds: `goods`, `users`, `stock`, `balance` (cents), `coupons`: how much instead.
        """
        control.tell(self.home, "reset", clock=START.isoformat(), **seeds)
        self._forget_names()
        self._reader.close()

    def scale(self, **instances: int) -> None:
        """Start more processes of a service, or have the last ones finish and go.

        Args:
            instances: service → how many, as `scale(goods=2)`; `order_web` stands for `order-web`.

        Raises:
            RuntimeError: there is no such service, or it cannot have so many.
        """
        named = {name.replace("_", "-"): number for name, number in instances.items()}
        control.tell(self.home, "scale", **named)

    def order(self, *, key: str | None = None, **wanted: Any) -> Answer:
        """Place an order over HTTP (下单).

        Args:
            key: the Idempotency-Key.
            wanted: any field of the request; `coupon=True` uses the user's first unused coupon.
        """
        return Answer(self.client.place(self.client.body(**wanted), key), self.alias)

    def create_payment(self, order_id: int | str) -> Answer:
        """Open the payment of an order (支付): the answer says where its user pays it."""
        return Answer(self.client.create_payment(order_id), self.alias)

    def pay(self, order_id: int | str) -> Answer:
        """Pay for an order: open its payment, and press pay at the platform's cashier.

        Returns:
            The cashier's answer; the shop's, where it did not open a payment.
        """
        return self._at_cashier(order_id, "pay")

    def give_up(self, order_id: int | str) -> Answer:
        """Open an order's payment, and give it up at the platform's cashier."""
        return self._at_cashier(order_id, "give-up")

    def cancel(self, order_id: int | str) -> Answer:
        """Cancel an unpaid order, as its user."""
        return Answer(self.client.cancel(order_id, self._user_of(order_id)), self.alias)

    def return_order(self, order_id: int | str) -> Answer:
        """Return a paid order in full (退货), as its user."""
        return Answer(self.client.return_order(order_id, self._user_of(order_id)), self.alias)

    def tables(
        self, *names: str, raw: bool = False, limit: int = _PAGE, page: int | None = None
    ) -> Table | Tables:
        """Tables as frames, with short names for ids.

        Args:
            names: one name gives a frame, several give all of them to be shown together.
            raw: every column, as the database holds it.
            limit: how many rows at most.
            page: which so many, from 1; the last if not said.
        """
        frames = {name: self._frame(name, limit, page, raw) for name in names}
        return frames[names[0]] if len(names) == 1 else Tables(frames)

    @contextmanager
    def database(self, service: str) -> Iterator[Connection]:
        """One transaction in the database of a service, behind its back.

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
    def watch(self, *names: str, settle: bool = True) -> Iterator[Seen]:
        """Keep tables before and after a step, to show what it changed.

        Args:
            names: tables.
            settle: wait until nothing is in flight before looking again.
        """
        before = {name: self._reader.table(name) for name in names}
        seen = Seen()
        yield seen
        if settle:
            self.settle()
        self._learn()
        seen.differences = [self._differ(name, before[name]) for name in names]

    def settle(self, timeout: float = 30) -> None:
        """Wait until nothing is in flight.

        Raises:
            NotSettled: something still is after `timeout` seconds.
        """
        left = flight.settle(self._reader, timeout)
        if left:
            raise NotSettled(left)
        with suppress(TimeoutError):  # what the platform notes of it is not the shop's, but shown
            self.until(
                lambda: not payments_in_flight.telling(self._reader, self.clock.now()),
                _TOLD_SECONDS,
            )

    def bill(self, day: date | None = None) -> str:
        """The payment platform's bill (对账单) of a business day, as CSV; today's if not said.

        Raises:
            RuntimeError: the platform gave none.
        """
        return fetch_bill(self.home, day or self.clock.now().date())

    def reconcile(self, day: date | None = None, *, repair: bool = True) -> Table:
        """Compare a day's bill with the shop's payments and refunds (对账), and repair them.

        Args:
            day: a business day; today if not said.
            repair: whether to repair what has one right answer.

        Raises:
            RuntimeError: the platform gave no bill.
        """
        of = day or self.clock.now().date()
        found = Reconciler(self.home, self._reader).run(of, repair=repair)
        self._learn()
        return Table.of(
            [
                {
                    "kind": one.line.kind,
                    "order": self._aliases.show("order_id", one.line.order_id),
                    "payment": self._aliases.show("pay_id", one.line.pay_id),
                    "at the platform": self._aliases.show("", one.line.there),
                    "in the shop": self._aliases.show("", one.line.here),
                    "found": one.line.found,
                    "done": one.done or "–",
                }
                for one in found
            ],
            _RECONCILED,
        )

    def trace(self, order_id: int | str, *, settle: bool = True) -> Diagram:
        """Draw what happened to one order, in every process, as a sequence diagram.

        Args:
            order_id: of which order.
            settle: wait until nothing is in flight, so that its messages are in the picture.

        Raises:
            NotTraced: the order left no trace; a lab that `Lab.up` started traces every request.
        """
        if settle:
            self.settle()
        return draw.draw(self.home.traces, str(order_id), self.alias)

    def until(self, condition: Callable[[], bool], timeout: float = 15) -> None:
        """Wait until something is true.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
        """
        wait_until(condition, "the condition is true", timeout, _POLL_SECONDS)

    def check(self) -> Table:
        """The invariants: whether each holds, how many rows were looked at, what must be true."""
        says = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}
        found = invariants.check(self._reader)
        rows = [
            {
                "invariant": one["name"],
                "held": "yes" if one["held"] else "NO",
                "rows": one["looked_at"],
                "what must be true": says[one["name"]],
            }
            for one in found
        ]
        if not all(one["held"] for one in found):
            for row, one in zip(rows, found, strict=True):
                row["broken by"] = self.alias("; ".join(one["broken"])) or "–"
        return Table.of(rows)

    @property
    def console(self) -> ConsoleLink:
        """The address of the operator console: what is stuck, live, with buttons."""
        return ConsoleLink.of(self.home)

    def in_flight(self) -> Table:
        """What is on its way and what it waits for, stuck or not: the lab settles when it is none.

        Tries, and when the next one is, are in `stuck(raw=True)` and on the console.
        """
        rows = flight.in_flight(self._reader)
        shown = [{"what": row["what"], "order": self.alias(str(row["order"]))} for row in rows]
        return Table.of(shown, ["what", "order"])

    def stuck(self, *, raw: bool = False) -> Table:
        """What waits or failed, of which order, and why.

        Args:
            raw: with ids, for `by_hand`, with tries, and when the next one is (wall-clock ms).
        """
        rows = flight.stuck(self._reader)
        if raw:
            return Table.of(rows, ["id", "what", "order", "cause", "tries", "next_try"])
        shown = [
            {
                "what": row["what"],
                "order": self.alias(str(row["order"])),
                "cause": self.alias(row["cause"] or "–"),
            }
            for row in rows
        ]
        return Table.of(shown, ["what", "order", "cause"])

    def services(self) -> Table:
        """The processes of the lab, the broker first, and what each has of its own."""
        state = launch.status(self.home)
        rows = [
            {
                "process": one["name"],
                "state": one["state"],
                "database": one["name"] if state["databases"].get(one["name"]) else "–",
            }
            for one in state["services"]
        ]
        broker = state["endpoints"]["broker"]
        if broker and rows[0]["process"] != BROKER:  # one that is not the lab's own
            up = "up" if ports.answers(broker) else "down"
            rows.insert(0, {"process": BROKER, "state": up, "database": "–"})
        return Table.of(rows)

    def wiring(self) -> Table:
        """Topic → consumer group → handler."""
        rows = [
            {"topic": event.topic, "group": service.name, "handler": handler.name}
            for service in SERVICES.values()
            for event, handler in service.handlers.items()
        ]
        return Table.of(sorted(rows, key=itemgetter("topic")))

    def alias(self, text: str) -> str:
        """A text with short names for the ids in it."""
        self._learn()
        return self._aliases.replace(text)

    def _frame(self, name: str, limit: int, page: int | None, raw: bool) -> Table:
        total = self._reader.count(name)
        begin = max(0, total - limit) if page is None else (page - 1) * limit
        rows = self._reader.page(name, limit, begin)
        columns = self._reader.columns(name)
        found = Table.of(rows, columns) if raw else self._named(name, rows)
        if len(rows) < total:
            found.note = f"rows {begin + 1:,} to {begin + len(rows):,} of {total:,}; others: page=1"
        return found

    def _named(self, name: str, rows: Rows) -> Table:
        self._learn()
        return frame(name, rows, self._aliases)

    def _differ(self, name: str, before: Rows) -> Difference:
        """Compare a table with what it was; of many rows only those that differ are shown."""
        after = self._reader.table(name)
        if max(len(before), len(after)) > SHOWN_ROWS:
            before, after = only_changes(before, after)
        return Difference(name, self._named(name, before), self._named(name, after))

    def _forget_names(self) -> None:
        self._aliases = Aliases()
        self._births = Births(self._reader, self._aliases)

    def _learn(self) -> None:
        """Name everything by its birth, whatever is shown."""
        self._births.learn()

    def _at_cashier(self, order_id: int | str, button: str) -> Answer:
        opened = self.create_payment(order_id)
        if opened.cashier_url is None:
            return opened
        return Answer(self.client.press(opened.cashier_url, button), self.alias)

    def _user_of(self, order_id: int | str) -> int:
        row = self._reader.first("trade_order", order_id=int(order_id))
        return int(row["user_id"]) if row else 1
