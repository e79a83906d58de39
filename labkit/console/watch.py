"""What the console shows, read from outside: the supervisor's state and the databases as they are.

Nothing is read while nobody looks. A database that is slow or away holds up nothing: the page shows
what was read last, and which database does not answer. Looking takes half of the time at most, the
invariants a tenth.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

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

_LOOK_SECONDS, _CHECK_SECONDS = 0.3, 5.0
_WAIT_SECONDS = 1.0  # for a look that is under way, before the page shows the one before
_DATABASE_SECONDS = 2.0
_LOOK_IDLE, _CHECK_IDLE = 1, 9  # times as long as the last one took, until the next
_SHOWN = 10
_WATCHED_SECONDS = 5.0  # after the last look, what has changed since has changed just now
_SAYS = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}


@dataclass
class Look:
    """What was read at one moment.

    Attributes:
        at: when (wall clock, seconds); 0 where nothing was read yet.
        stuck: what waits or failed, as `flight.stuck` gives it, dead letters among it.
        counts: orders, payments and messages on their way.
        young: the youngest orders and payments in flight: `what`, `order`, `number`, `since` (s).
        away: service → why its database does not answer.
    """

    at: float = 0.0
    stuck: list[PendingItem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    young: list[dict[str, Any]] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)


@dataclass
class Check:
    """What the invariants said: each with `name`, `says`, `held`, `looked_at` and `broken`.

    Attributes:
        at: when (wall clock, seconds); 0 where they were not looked at yet.
        away: why they could not be looked at; empty where they could.
    """

    at: float = 0.0
    invariants: list[dict[str, Any]] = field(default_factory=list)
    away: str = ""


class Watch:
    """Looks at one home, for as long as somebody looks at the console.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._reader = Reader(home, _DATABASE_SECONDS)
        self._threads = ThreadPoolExecutor(2, "watch")
        self._look = _Again(self._threads, self._read, Look(), _LOOK_SECONDS, _LOOK_IDLE)
        self._check = _Again(
            self._threads, self._read_invariants, Check(), _CHECK_SECONDS, _CHECK_IDLE
        )
        self._seen: dict[str, tuple[str, float | None]] = {}
        self._looked_at = 0.0

    async def look(self) -> Look:
        """What is on its way and what is stuck, a moment ago."""
        found: Look = await self._look.latest(_WAIT_SECONDS)
        return found

    async def check(self) -> Check:
        """The invariants, some seconds ago; looked at again while nobody waits."""
        found: Check = await self._check.latest(0 if self._check.last.at else _WAIT_SECONDS)
        return found

    def renew(self) -> None:
        """Have all that was read be too old: something was done just now."""
        for one in (self._look, self._check):
            one.good_until = 0.0

    def services(self) -> list[dict[str, Any]]:
        """The processes of the shop: `label`, `state`, `pid`, and `since` when (wall clock, s).

        Where a state began while nobody looked, it is not known since when, and `since` is None.
        """
        now, before = time.time(), self._looked_at
        self._looked_at = now
        changed = now if now - before < _WATCHED_SECONDS else None
        return [self._service(one, changed) for one in self._home.state().get("services", [])]

    def faults(self) -> list[dict[str, Any]]:
        """The failpoints that are armed: `name`, `action`, `times`."""
        armed = FailpointStore(self._home.faults).armed()
        return [{"name": name, **fault} for name, fault in sorted(armed.items())]

    def close(self) -> None:
        """Let go of the databases."""
        self._threads.shutdown(cancel_futures=True)
        self._reader.close()

    def _service(self, one: ServiceStatus, changed: float | None) -> dict[str, Any]:
        label, state, since = f"{one['name']}-{one['instance']}", one["state"], None
        if one["pid"]:
            try:
                process = psutil.Process(one["pid"])
                since = process.create_time()
                state = "paused" if process.status() == psutil.STATUS_STOPPED else state
            except psutil.NoSuchProcess:
                state = "down"
        if self._seen.get(label, ("", 0.0))[0] != state:
            self._seen[label] = (state, changed)
        since = since if state == "up" and since else self._seen[label][1]
        return {"label": label, "state": state, "pid": one["pid"], "since": since}

    def _read(self) -> Look:
        found = Look(at=time.time())
        for service in t.TABLES:
            try:
                found.stuck += in_flight.stuck_in(self._reader, service)
                for what, number in in_flight.count(self._reader, service):
                    found.counts[what] += number
                found.young += _young(self._reader, service)
            except DatabaseAway as away:
                found.away[service] = str(away)
            except SQLAlchemyError as error:  # its tables are just being made anew
                found.away[service] = f"{type(error).__name__}: {error}"
        found.stuck.sort(key=lambda one: (one["order"] or 0, one["id"]))
        return found

    def _read_invariants(self) -> Check:
        reader = Reader(self._home)
        try:
            found = invariants.check(reader)
        except (DatabaseAway, SQLAlchemyError) as error:
            return Check(time.time(), self._check.last.invariants, " ".join(str(error).split()))
        finally:
            reader.close()
        return Check(time.time(), [{**one, "says": _SAYS[one["name"]]} for one in found])


class _Again:
    """Something that is read in a thread when it is asked for, one at a time, and not too often.

    Args:
        threads: where.
        read: reads it.
        first: what is known before.
        seconds: how long what was read is good enough, at the least.
        idle: times as long as reading took.
    """

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        read: Callable[[], Any],
        first: Any,
        seconds: float,
        idle: int,
    ) -> None:
        self._threads, self._read, self._seconds = threads, read, seconds
        self._idle = idle
        self._reading: asyncio.Future[None] | None = None
        self.good_until = 0.0
        self.last = first

    async def latest(self, wait: float) -> Any:
        """What was read last; reading is begun where that is too old, and waited for a while."""
        if self._reading is None and time.monotonic() >= self.good_until:
            self._reading = asyncio.ensure_future(self._again())
        if self._reading and wait:
            await asyncio.wait([self._reading], timeout=wait)
        return self.last

    async def _again(self) -> None:
        began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            self.last = await loop.run_in_executor(self._threads, self._read)
        finally:
            now = time.monotonic()
            self.good_until = now + max(self._seconds, self._idle * (now - began))
            self._reading = None


def _young(reader: Reader, service: str) -> list[dict[str, Any]]:
    """The youngest orders that are not decided, or payments that wait for their user."""
    if service == "order":
        key, which, what = (
            t.order.c.order_id,
            t.order.c.order_status == OrderStatus.UNCONFIRMED,
            "undecided",
        )
    elif service == "pay":
        key, which, what = t.pay.c.pay_id, t.pay.c.open_order_id.is_not(None), "unpaid"
    else:
        return []
    order = key.table.c.order_id
    newest = select(key.label("number"), order.label("order")).where(which)
    rows = reader.query(service, newest.order_by(key.desc()).limit(_SHOWN))
    return [{"what": what, **row, "since": made_at_ms(row["number"]) / 1000} for row in rows]
