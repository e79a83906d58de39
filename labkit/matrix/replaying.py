"""Replaying a life of the twin on a real lab, which is made to have the same deviations."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import select

from labkit.home import Home
from labkit.lab.lab import Lab, NotSettled
from labkit.matrix.forced_faults import ForcedFaults
from labkit.matrix.lab_front import LabFront, play
from labkit.matrix.replay_lab import PACE, prepare_home, running_lab
from labkit.matrix.replay_report import Outcome, ReplayReport
from labkit.ops.history import History
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.shop import tables as t
from labkit.shop.states import OrderStatus, PayStatus
from labkit.sim import search
from labkit.sim.forcing import Forcing, forcings
from labkit.sim.plan import Plan, read_token
from labkit.waiting import wait_until

_SETTLE_S = 60.0
_MINUTES_TO_PAY = 20
#: Called with what is being done.
Progress = Callable[[str], None]


def replay(
    token: str, folder: Path | None = None, on_progress: Progress = lambda _: None
) -> ReplayReport:
    """Make a real lab live a life of the twin, and check everything.

    Args:
        token: of the life, as `labkit sim` prints it.
        folder: for the lab's home, which is removed; a temporary one where not given.
        on_progress: called with what is being done.

    Raises:
        BadToken: it tells of no life.
    """
    began, plan = time.monotonic(), read_token(token)
    life = search.replay(plan)
    forced = forcings(plan, life.order)
    with tempfile.TemporaryDirectory(prefix="replay-", dir=folder) as path:
        outcome = _live(prepare_home(Path(path) / "lab"), plan, forced, on_progress)
    return ReplayReport(plan, forced, life.breaches, outcome, time.monotonic() - began)


def _live(home: Home, plan: Plan, forced: Sequence[Forcing], on_progress: Progress) -> Outcome:
    """Let a lab that is not up yet live a life, and return what came of it."""
    faults = ForcedFaults(home, forced, PACE)
    faults.arm()
    on_progress("starting a lab")
    with faults.watched(), running_lab(home, plan.instances) as lab:
        on_progress(f"customers at work: {', '.join(plan.stories)}")
        front = LabFront(lab.client, faults.pauses)
        complaints = play(front, plan.stories)
        on_progress("settling")
        complaints += _settle(lab, faults)
        reader = Reader(home)
        invariants = check.check(reader)
        reader.close()
    reached = faults.reached(front.paused)
    return Outcome(reached, History(home).exchanges(), invariants, complaints)


def _settle(lab: Lab, faults: ForcedFaults) -> list[str]:
    """Wait until nothing is in flight, also after the time to pay; return what never ends."""
    try:
        _settle_once(lab, faults)
        if _is_unpaid(lab):
            lab.clock.advance(minutes=_MINUTES_TO_PAY)
            wait_until(lambda: not _is_unpaid(lab), "an unpaid order is cancelled", _SETTLE_S)
        faults.wait_until_reached()
        _settle_once(lab, faults)
    except (NotSettled, TimeoutError) as error:
        return [f"it does not settle: {error}"]
    return []


def _settle_once(lab: Lab, faults: ForcedFaults) -> None:
    lab.settle(_SETTLE_S)
    faults.wait_until_over()
    lab.settle(_SETTLE_S)


def _is_unpaid(lab: Lab) -> bool:
    """Return True if an order waits to be paid."""
    order = t.order.c
    waits = (order.order_status == OrderStatus.CONFIRMED) & (order.pay_status == PayStatus.UNPAID)
    reader = Reader(lab.home)
    try:
        return bool(reader.query("order", select(order.order_id).where(waits).limit(1)))
    finally:
        reader.close()
