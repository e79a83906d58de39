"""The data of the console: the supervisor's state and the databases, read from outside as they are.

Nothing is read while nobody looks. A database that is slow or away delays nothing: the page shows
the last data, and which database does not answer. Reading what is stuck takes half of the time at
most, and the invariants a tenth.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypedDict

import psutil
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from labkit.console.refreshed import Refreshed
from labkit.home import Home
from labkit.ops import in_flight
from labkit.ops.invariants import check as invariants
from labkit.ops.pending_item import PendingItem
from labkit.ops.reader import DatabaseAway, Reader
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.registry.ids import made_at_ms
from labkit.shop import tables as t
from labkit.shop.states import OrderStatus
from labkit.state import ServiceStatus

_LOOK_S, _CHECK_S = 0.3, 5.0
_WAIT_S = 1.0  # for a read that is under way, before the page shows the last data
_DATABASE_S = 2.0
_LOOK_IDLE, _CHECK_IDLE = 1, 9  # idle times, in times of the last read's duration
_MAX_YOUNG = 10
_WATCHED_S = 5.0  # after the last look, a state that is new has begun just now
_SUMMARIES = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}


class YoungItem(TypedDict):
    """A young order or payment in flight; `since` is in seconds of the wall clock."""

    what: str
    order: int
    number: int
    since: float


class ProcessRow(TypedDict):
    """A process of the shop; `since` is in seconds of the wall clock, None where nobody knows."""

    label: str
    state: str
    pid: int | None
    since: float | None


class ArmedRow(TypedDict):
    """A failpoint that is armed."""

    name: str
    action: str
    times: int
    after: int


class InvariantRow(invariants.CheckResult):
    """The result of an invariant, with its sentence."""

    summary: str


@dataclass
class Look:
    """The items of all databases at one moment.

    Attributes:
        at: the moment (wall clock, seconds); 0 before the first read.
        stuck: items that wait or failed, dead letters among them.
        counts: orders, payments and messages in flight.
        young: the youngest orders and payments in flight.
        away: service → why its database does not answer.
    """

    at: float = 0.0
    stuck: list[PendingItem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    young: list[YoungItem] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)


@dataclass
class Check:
    """The results of all invariants.

    Attributes:
        at: the moment (wall clock, seconds); 0 before the first check.
        invariants: the results; the last ones where this check failed.
        away: why the check failed; empty where it did not.
    """

    at: float = 0.0
    invariants: list[InvariantRow] = field(default_factory=list)
    away: str = ""


class Watch:
    """Looks at one home, for as long as somebody looks at the console.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._reader = Reader(home, _DATABASE_S)
        self._threads = ThreadPoolExecutor(2, "watch")
        self._look = Refreshed(self._threads, self._read, Look(), _LOOK_S, _LOOK_IDLE)
        self._check = Refreshed(
            self._threads, self._read_invariants, Check(), _CHECK_S, _CHECK_IDLE
        )
        #: label → the state of a process, and since when.
        self._states: dict[str, tuple[str, float | None]] = {}
        self._looked_at = 0.0

    async def look(self) -> Look:
        """Return what is in flight and what is stuck, a moment ago."""
        return await self._look.latest(_WAIT_S)

    async def check(self) -> Check:
        """Return the results of the invariants, some seconds ago; only the first call waits."""
        return await self._check.latest(0 if self._check.last.at else _WAIT_S)

    def invalidate(self) -> None:
        """Make all data too old: a button has changed something."""
        self._look.invalidate()
        self._check.invalidate()

    def services(self) -> list[ProcessRow]:
        """Return the processes of the shop.

        Where a state began while nobody looked, its `since` is None.
        """
        now, before = time.time(), self._looked_at
        self._looked_at = now
        changed = now if now - before < _WATCHED_S else None
        services = self._home.state().get("services", [])
        return [self._row(service, changed) for service in services]

    def faults(self) -> list[ArmedRow]:
        """Return the failpoints that are armed, each with what it does next."""
        armed = FailpointStore(self._home.faults).armed()
        return [{"name": name, **armings[0]} for name, armings in sorted(armed.items())]

    def close(self) -> None:
        """Close the databases."""
        self._threads.shutdown(cancel_futures=True)
        self._reader.close()

    def _row(self, service: ServiceStatus, changed: float | None) -> ProcessRow:
        label, state = f"{service['name']}-{service['instance']}", service["state"]
        started: float | None = None
        if service["pid"]:
            try:
                process = psutil.Process(service["pid"])
                started = process.create_time()
                state = "paused" if process.status() == psutil.STATUS_STOPPED else state
            except psutil.NoSuchProcess:
                state = "down"
        if self._states.get(label, ("", 0.0))[0] != state:
            self._states[label] = (state, changed)
        since = started if state == "up" and started else self._states[label][1]
        return {"label": label, "state": state, "pid": service["pid"], "since": since}

    def _read(self) -> Look:
        look = Look(at=time.time())
        for service in t.TABLES:
            try:
                look.stuck += in_flight.stuck_in(self._reader, service)
                for what, number in in_flight.count(self._reader, service):
                    look.counts[what] += number
                look.young += _young(self._reader, service)
            except DatabaseAway as away:
                look.away[service] = str(away)
            except SQLAlchemyError as error:  # its tables are just being made anew
                look.away[service] = f"{type(error).__name__}: {error}"
        look.stuck.sort(key=lambda item: (item["order"] or 0, item["id"]))
        return look

    def _read_invariants(self) -> Check:
        reader = Reader(self._home)
        try:
            results = invariants.check(reader)
        except (DatabaseAway, SQLAlchemyError) as error:
            return Check(time.time(), self._check.last.invariants, " ".join(str(error).split()))
        finally:
            reader.close()
        rows: list[InvariantRow] = [
            {**result, "summary": _SUMMARIES[result["name"]]} for result in results
        ]
        return Check(time.time(), rows)


def _young(reader: Reader, service: str) -> list[YoungItem]:
    """Read the youngest orders that are not decided, or payments that wait for their user."""
    if service == "order":
        key, is_young, what = (
            t.order.c.order_id,
            t.order.c.order_status == OrderStatus.UNCONFIRMED,
            "undecided",
        )
    elif service == "pay":
        key, is_young, what = t.pay.c.pay_id, t.pay.c.open_order_id.is_not(None), "unpaid"
    else:
        return []
    order = key.table.c.order_id
    newest = select(key.label("number"), order.label("order")).where(is_young)
    return [
        {
            "what": what,
            "number": row["number"],
            "order": row["order"],
            "since": made_at_ms(row["number"]) / 1000,
        }
        for row in reader.query(service, newest.order_by(key.desc()).limit(_MAX_YOUNG))
    ]
