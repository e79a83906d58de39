"""The lab as a notebook sees it: start, order, look before and after, break, settle, check."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from labkit.faults import Faults
from labkit.home import Home
from labkit.lab import flight, html, invariants, trace
from labkit.lab.client import Client
from labkit.lab.data import Reader
from labkit.lab.diagram import Diagram
from labkit.lab.frames import Aliases, Difference, Table, frame
from labkit.results import Result
from labkit.runtime.clock import LabClock
from labkit.shop.wiring import SERVICES
from labkit.stack import control, launch

_POLL_SECONDS = 0.05
#: When business time begins in a notebook; it moves only when the notebook advances it.
START = datetime(2026, 1, 5, 9, 0)


class NotSettled(Exception):
    """Something is still in flight; the message says what."""


class Lab:
    """A running shop, and everything that a learner does with it.

    Args:
        home: where the lab lives.
        supervisor: its process, where this lab was started by us.
    """

    def __init__(self, home: Home, supervisor: "subprocess.Popen[bytes] | None" = None) -> None:
        self.home = home
        self._supervisor = supervisor
        self._reader = Reader(home)
        self.client = Client(launch.status(home)["endpoints"]["order-web"], self._reader)
        self.clock = Clock(LabClock(home.clock_file))
        self.faults = Faults(home)
        self._aliases = Aliases()

    @classmethod
    def up(cls, home: Path | str = ".lab", instances: Mapping[str, int] | None = None) -> Self:
        """Start a lab that lives as long as this process, or join the one that is up.

        Args:
            home: its folder; two homes never touch each other.
            instances: service → how many processes; one of each where not said.

        Raises:
            RuntimeError: it cannot come up; one line that says what to do.
        """
        where = Home(home)
        return cls(where, launch.up(where, instances, dies_with_us=True, traced=True))

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
        self._aliases = Aliases()
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

    def order(self, *, key: str | None = None, **wanted: Any) -> "Answer":
        """Place an order over HTTP (下单).

        Args:
            key: the Idempotency-Key.
            wanted: any field of the request; `coupon=True` uses the user's first unused coupon.
        """
        response = self.client.place(self.client.body(**wanted), key)
        return Answer(response.status_code, Result[Any].model_validate_json(response.text), self)

    def cancel(self, order_id: int | str) -> "Answer":
        """Cancel an unpaid order, as its user."""
        response = self.client.cancel(order_id, self._user_of(order_id))
        return Answer(response.status_code, Result[Any].model_validate_json(response.text), self)

    def tables(self, *names: str, raw: bool = False) -> "Table | Tables":
        """Tables as frames, with short names for ids.

        Args:
            names: one name gives a frame, several give all of them to be shown together.
            raw: every column, as the database holds it.
        """
        frames = {name: self._frame(name, raw=raw) for name in names}
        return frames[names[0]] if len(names) == 1 else Tables(frames)

    @contextmanager
    def watch(self, *names: str, settle: bool = True) -> "Iterator[Seen]":
        """Keep tables before and after a step, to show what it changed.

        Args:
            names: tables.
            settle: wait until nothing is in flight before looking again.
        """
        before = {name: self._frame(name) for name in names}
        seen = Seen()
        yield seen
        if settle:
            self.settle()
        seen.differences = [Difference(name, before[name], self._frame(name)) for name in names]

    def settle(self, timeout: float = 30) -> None:
        """Wait until nothing is in flight.

        Raises:
            NotSettled: something still is after `timeout` seconds.
        """
        left = flight.settle(self._reader, timeout)
        if left:
            raise NotSettled("; ".join(f"{one['what']} (order {one['order']})" for one in left[:5]))

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
        return trace.draw(self.home.traces, str(order_id), self.alias)

    def until(self, condition: Callable[[], bool], timeout: float = 15) -> None:
        """Wait until something is true.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not come true within {timeout:.0f} s")
            time.sleep(_POLL_SECONDS)

    def check(self) -> Table:
        """The invariants: whether each holds, how many rows were looked at, what must be true."""
        says = {one.name: one.says for one in invariants.INVARIANTS}
        found = invariants.check(self._reader)
        rows = [{"invariant": one["name"], "held": "yes" if one["held"] else "NO",
                 "rows": one["looked_at"], "what must be true": says[one["name"]]}
                for one in found]  # fmt: skip
        if not all(one["held"] for one in found):
            for row, one in zip(rows, found, strict=True):
                row["broken by"] = self.alias("; ".join(one["broken"])) or "–"
        return Table(rows)

    def stuck(self) -> Table:
        """What waits or failed, of which order, and why; `labkit stuck` says more."""
        rows = flight.stuck(self._reader)
        shown = [{"what": one["what"], "order": self.alias(str(one["order"])),
                  "cause": self.alias(one["cause"] or "–")} for one in rows]  # fmt: skip
        return Table(shown, columns=["what", "order", "cause"])

    def services(self) -> Table:
        """The processes of the lab, and what each has of its own."""
        state = launch.status(self.home)
        return Table([
            {"process": one["name"], "state": one["state"],
             "database": f"{one['name']}.sqlite" if state["databases"].get(one["name"]) else "–"}
            for one in state["services"]
        ])  # fmt: skip

    def wiring(self) -> Table:
        """Topic → consumer group → handler."""
        rows = [{"topic": event.topic, "group": service.name, "handler": handler.name}
                for service in SERVICES.values()
                for event, handler in service.handlers.items()]  # fmt: skip
        return Table(sorted(rows, key=itemgetter("topic")))

    def alias(self, text: str) -> str:
        """A text with short names for the ids in it."""
        self._aliases.learn(self._reader.table("trade_order_request"))
        return self._aliases.replace(text)

    def _frame(self, name: str, *, raw: bool = False) -> Table:
        rows = self._reader.table(name)
        if raw:
            return Table(rows, columns=self._reader.columns(name))
        for first in ("trade_order_request", "trade_mq_producer"):  # by birth, whatever is shown
            self._aliases.learn(self._reader.table(first))
        return frame(name, rows, self._aliases)

    def _user_of(self, order_id: int | str) -> int:
        rows = self._reader.table("trade_order")
        return next((row["user_id"] for row in rows if str(row["order_id"]) == str(order_id)), 1)


class Answer:
    """What the shop answered to one request.

    Attributes:
        status: the HTTP status.
        result: the `Result`.
    """

    def __init__(self, status: int, result: Result[Any], lab: Lab) -> None:
        self.status = status
        self.result = result
        self._lab = lab

    @property
    def order_id(self) -> str | None:
        """The order, where the answer names one."""
        data: dict[str, str] = self.result.data or {}
        return data.get("order_id")

    def __repr__(self) -> str:
        return f"{self.status} {self.result.name}: {self._lab.alias(self.result.message)}"


class Clock:
    """The lab clock from outside.

    Args:
        clock: of the home.
    """

    def __init__(self, clock: LabClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """Business time."""
        return self._clock.now()

    def stop(self, at: datetime | None = None) -> None:
        """Stop business time, at a time or where it is."""
        self._clock.stop(at)

    def advance(self, **by: float) -> datetime:
        """Move business time forward in all processes, as `advance(minutes=30)`."""
        self._clock.advance(timedelta(**by))
        return self._clock.now()


class Tables:
    """Several frames to be shown one under the other.

    Args:
        frames: name → frame.
    """

    def __init__(self, frames: Mapping[str, Table]) -> None:
        self.frames = frames

    def __getitem__(self, name: str) -> Table:
        return self.frames[name]

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}\n{one!r}" for name, one in self.frames.items())

    def _repr_html_(self) -> str:
        return "".join(
            html.table(name, [str(column) for column in one.columns], one.to_numpy().tolist())
            for name, one in self.frames.items()
        )


class Seen:
    """What a step changed: tables before and after, marked in colour and in text."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []

    @property
    def changed(self) -> list[str]:
        """Names of the tables that the step changed."""
        return [one.table for one in self.differences if one.changed]

    def __getitem__(self, table: str) -> Difference:
        return next(one for one in self.differences if one.table == table)

    def only(self, *tables: str) -> "Seen":
        """The same step, in these tables alone."""
        part = Seen()
        part.differences = [self[table] for table in tables]
        return part

    def __repr__(self) -> str:
        return "\n\n".join(one.text() for one in self.differences)

    def _repr_html_(self) -> str:
        return "".join(one.html() for one in self.differences)
