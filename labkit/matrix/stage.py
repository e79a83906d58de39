"""The stage of a scenario: a running lab, its customer, and the faults that belong to the story."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from sqlalchemy import select

from labkit.faults import points
from labkit.matrix.customer import Customer, Placed
from labkit.matrix.labs import RunnerLab
from labkit.ops import drive, in_flight
from labkit.ops.reader import Reader
from labkit.runtime.db import tables as rt
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.rpc.tool_client import run_beside
from labkit.shop import tables as t
from labkit.shop.codes import Code
from labkit.shop.tables import TABLES
from labkit.stack.supervisor import launch


class ScenarioContext:
    """Where one scenario is played once.

    Args:
        lab: a running lab.
        reader: of its databases.
        user: the customer.
        armed: the failpoints that the cell itself arms.

    Attributes:
        emptied: whether the story has put other data in, so that the lab must begin anew.
    """

    def __init__(
        self, lab: RunnerLab, reader: Reader, user: Customer, armed: frozenset[str]
    ) -> None:
        self.lab = lab
        self.user = user
        self._reader = reader
        self._armed = armed
        self._own: list[str] = []
        self.emptied = False

    @property
    def undisturbed(self) -> bool:
        """Whether nothing fails but what the story itself breaks."""
        return not self._armed

    def breaks(self, failpoint: str, action: str, times: int = 1) -> None:
        """Break something that belongs to the story; the fault of a cell takes its place."""
        if failpoint not in self._armed:
            points.arm(self.lab.home, failpoint, action, times)
            self._own.append(failpoint)

    def fails_at(self, failpoint: str) -> bool:
        """Return True if the fault of the cell is there."""
        return failpoint in self._armed

    def join(self) -> None:
        """Talk to the lab, and look at its databases, as they are after it was started again."""
        self._reader.close()
        self.user.talk_to(self.lab.client)

    @contextmanager
    def away(self, service: str) -> Iterator[None]:
        """Have a service away for a block."""
        with self.lab.faults.killed(service):
            yield

    def hits(self, failpoint: str) -> int:
        """Count how often a failpoint was crossed since the lab began."""
        found = points.list_all(self.lab.home)
        return next(int(one["hits"]) for one in found if one["name"] == failpoint)

    def idle(self) -> list[str]:
        """The faults of the story itself that have not acted as often as they are to."""
        return [name for name in self._own if points.left(self.lab.home, name)]

    def power_cut(self, *services: str) -> None:
        """Kill services at once, all where none is named, and wait until all are back."""
        before = {
            name: pid for name, pid in self._serving().items() if not services or name in services
        }
        for pid in before.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            now = self._serving()
            return all(now.get(name, pid) != pid for name, pid in before.items())

        self.user.wait(back, "all services are back after a power cut")

    def wait_stuck(self, order: Placed, kind: str = "") -> list[dict[str, Any]]:
        """What of an order is stuck, once something is or nothing is in flight any more.

        Args:
            order: whose.
            kind: of `flight.stuck`; empty: any.
        """
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [
                one
                for one in in_flight.stuck(self._reader)
                if str(one["order"]) == order.order_id
                and one["cause"]
                and kind in ("", one["kind"])
            ]
            return bool(found) or not in_flight.in_flight(self._reader)

        self.user.wait(seen, f"something of order {order.order_id} is stuck")
        return found

    def by_hand(self, id: str, *verbs: str) -> None:
        """Do one thing after the other with something stuck, each until somebody answers.

        Args:
            id: of what is stuck.
            verbs: of `desk.VERBS`; by default it is retried.
        """
        for verb in verbs or (drive.RETRY,):
            self.user.wait(partial(self._answered, verb, id), f"{verb} of {id} is answered")

    def reconcile(self) -> None:
        """Compare today's bill and repair, until the platform has given one."""

        def done() -> bool:
            try:
                return self.lab.reconcile() is not None
            except RuntimeError:  # it gave none
                return False

        self.user.wait(done, "the day is reconciled")

    def is_there(self, order: Placed) -> bool:
        """Return True if the shop's own database has an order."""
        mine = t.order.c.address == order.mark
        return bool(self._reader.query("order", select(t.order).where(mine)))

    def handled(self, topic: str, order: Placed) -> Mapping[str, tuple[int, int]]:
        """Group → event and status, of each that has an inbox row about an order."""
        mine = (rt.inbox.c.topic == topic) & (rt.inbox.c.msg_key == order.order_id)
        rows = [
            row
            for service in TABLES
            for row in self._reader.query(service, select(rt.inbox).where(mine))
        ]
        return {row["group_name"]: (row["event_id"], row["status"]) for row in rows}

    def dead_letters(self, order: Placed) -> list[str]:
        """The ids by which a person names the dead letters of an order, on their way out."""
        mine = (rt.outbox.c.topic == DeadLetter.topic) & (rt.outbox.c.msg_key == order.order_id)
        return [
            f"{service}.outbox.{row['event_id']}"
            for service in TABLES
            for row in self._reader.query(service, select(rt.outbox).where(mine))
        ]

    def _answered(self, verb: str, id: str) -> bool:
        return bool(run_beside(drive.drive(self.lab.home, verb, id)).code != Code.DEPENDENCY_AWAY)

    def _serving(self) -> dict[str, int]:
        return {
            one["name"]: one["pid"]
            for one in launch.status(self.lab.home)["services"]
            if one["state"] == "up" and one["name"] != "broker"
        }
