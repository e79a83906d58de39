"""The context that a scenario runs in: a running lab, its customer, and the script's own faults."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import select

from labkit.faults import points
from labkit.matrix.customer import Customer, Placed
from labkit.matrix.labs import RunnerLab
from labkit.ops import drive, in_flight
from labkit.ops.drive import ManualAction
from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import Reader
from labkit.runtime.db import tables as rt
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.runtime.rpc.tool_client import run_beside
from labkit.shop import tables as t
from labkit.shop.codes import Code
from labkit.shop.tables import TABLES
from labkit.stack.supervisor import launch

T_co = TypeVar("T_co", covariant=True)


class BackgroundWork(Protocol[T_co]):
    """Work that goes on beside the script."""

    def done(self) -> bool:
        """Return True if it has ended."""
        ...

    def result(self) -> T_co:
        """Wait until it has ended, and return what it returned, or raise what it raised."""
        ...


class ScenarioContext:
    """The lab and the customer on which the script of a scenario acts, for one run.

    Args:
        lab: a running lab.
        reader: of its databases.
        customer: places and pays the orders.
        armed: the failpoints that the cell arms; empty in a baseline run.

    Attributes:
        needs_reset: set by a script that replaces the first data, or uses them up.
    """

    def __init__(
        self, lab: RunnerLab, reader: Reader, customer: Customer, armed: frozenset[str]
    ) -> None:
        self.lab = lab
        self.customer = customer
        self._reader = reader
        self._armed = armed
        self._injected: list[str] = []
        self.needs_reset = False

    @property
    def is_baseline(self) -> bool:
        """Return True if nothing fails but what the script itself injects."""
        return not self._armed

    def inject(self, failpoint: str, action: str, times: int = 1) -> None:
        """Arm a fault that belongs to the script; where the cell arms the same one, that stays."""
        if failpoint not in self._armed:
            points.arm(self.lab.home, failpoint, action, times)
            self._injected.append(failpoint)

    def cell_injects(self, failpoint: str) -> bool:
        """Return True if the cell arms this failpoint."""
        return failpoint in self._armed

    def reconnect(self) -> None:
        """Use the addresses and databases of the lab as they are after it was started again."""
        self._reader.close()
        self.customer.use_client(self.lab.client)

    @contextmanager
    def background(self, work: Callable[[], T_co]) -> Iterator[BackgroundWork[T_co]]:
        """Do something beside a block, which ends no sooner than that."""
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(work)

    @contextmanager
    def outage(self, service: str) -> Iterator[None]:
        """Keep a service down for a block."""
        with self.lab.faults.killed(service):
            yield

    def hits(self, failpoint: str) -> int:
        """Count how often a failpoint was crossed since the lab began."""
        listed = points.list_all(self.lab.home)
        return next(int(point["hits"]) for point in listed if point["name"] == failpoint)

    def unspent_faults(self) -> list[str]:
        """List the script's own faults that have not acted as often as they are armed for."""
        return [name for name in self._injected if points.remaining(self.lab.home, name)]

    def power_cut(self, *services: str) -> None:
        """Kill services at once, all where none is named, and wait until all are back."""
        before = {
            name: pid for name, pid in self._serving().items() if not services or name in services
        }
        for pid in before.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        def are_back() -> bool:
            now = self._serving()
            return all(now.get(name, pid) != pid for name, pid in before.items())

        self.customer.wait_until(are_back, "all services are back after a power cut")

    def wait_stuck(self, order: Placed, kind: str = "") -> list[PendingItem]:
        """Wait until something of an order is stuck, or nothing is in flight, and list the items.

        Args:
            order: whose items.
            kind: of `in_flight.stuck`; empty: any.
        """
        items: list[PendingItem] = []

        def is_stuck() -> bool:
            items[:] = [
                item
                for item in in_flight.stuck(self._reader)
                if str(item["order"]) == order.order_id
                and item["cause"]
                and kind in ("", item["kind"])
            ]
            return bool(items) or not in_flight.in_flight(self._reader)

        self.customer.wait_until(is_stuck, f"something of order {order.order_id} is stuck")
        return items

    def drive(self, id: str, *actions: ManualAction) -> None:
        """Apply actions to a stuck item, one after the other, each until its service answers.

        Args:
            id: of the stuck item.
            actions: of `drive.ManualAction`; by default it is retried.
        """
        for action in actions or (ManualAction.RETRY,):
            self.customer.wait_until(
                partial(self._answers, action, id), f"{action} of {id} is answered"
            )

    def reconcile(self) -> None:
        """Compare today's bill and repair, again until the platform has given one."""

        def is_done() -> bool:
            try:
                return self.lab.reconcile() is not None
            except RuntimeError:  # the platform gave none
                return False

        self.customer.wait_until(is_done, "the day is reconciled")

    def order_exists(self, order: Placed) -> bool:
        """Return True if the order service's database has an order."""
        is_same = t.order.c.address == order.mark
        return bool(self._reader.query("order", select(t.order).where(is_same)))

    def inbox_rows(self, topic: str, order: Placed) -> Mapping[str, tuple[int, int]]:
        """Map each group that has an inbox row about an order to its event id and status."""
        is_about = (rt.inbox.c.topic == topic) & (rt.inbox.c.msg_key == order.order_id)
        rows = [
            row
            for service in TABLES
            for row in self._reader.query(service, select(rt.inbox).where(is_about))
        ]
        return {row["group_name"]: (row["event_id"], row["status"]) for row in rows}

    def dead_letters(self, order: Placed) -> list[str]:
        """List the ids, as `drive` takes them, of an order's dead letters in the outboxes."""
        is_about = (rt.outbox.c.topic == DeadLetter.topic) & (rt.outbox.c.msg_key == order.order_id)
        return [
            f"{service}.outbox.{row['event_id']}"
            for service in TABLES
            for row in self._reader.query(service, select(rt.outbox).where(is_about))
        ]

    def _answers(self, action: ManualAction, id: str) -> bool:
        return bool(run_beside(drive.drive(self.lab.home, action, id)).code != Code.DEPENDENCY_AWAY)

    def _serving(self) -> dict[str, int]:
        return {
            process["name"]: process["pid"]
            for process in launch.status(self.lab.home)["services"]
            if process["pid"] and process["state"] == "up" and process["name"] != "broker"
        }
