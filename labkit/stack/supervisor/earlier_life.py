"""The remains of an earlier life of a lab: processes, faults, traces and the time."""

import shlex
from datetime import datetime

from labkit.files import take_lock
from labkit.home import Home
from labkit.runtime.clock import LabClock
from labkit.runtime.injection.failpoints import Failpoints
from labkit.stack import boundaries
from labkit.stack.supervisor import spawn
from labkit.stack.supervisor.preparation import CannotStart
from labkit.state import LabState

_LOCK_S = 15.0


def end_processes(home: Home, earlier: LabState, failpoints: Failpoints) -> int:
    """Kill what an earlier supervisor left, and take the lock that none of it may hold.

    Args:
        home: where the lab lives.
        earlier: the state that it wrote.
        failpoints: of the supervisor.

    Returns:
        The lock on the databases, which all that works on them keeps for as long as it lives.

    Raises:
        CannotStart: a process that no state names still works on them.
    """
    failpoints.cross("supervisor.start.before_stop")
    spawn.kill_left_over(earlier.get("processes", []))
    lock = take_lock(home.databases_lock_file, _LOCK_S)
    if lock is None:
        file = shlex.quote(str(home.databases_lock_file))
        raise CannotStart(
            f"a process of an earlier run still works on the databases in {home.folder}: "
            f"end it (fuser {file} names it), then labkit up"
        )
    failpoints.cross("supervisor.start.after_stop")
    return lock


def forget(home: Home, start: datetime | None) -> None:
    """Forget faults, traces and the time; not before the data is new, because they fit it.

    Args:
        home: where the lab lives.
        start: where the lab clock is to stand; None lets it go with the wall clock.
    """
    boundaries.clear_faults(home)
    for trace in home.traces.iterdir():
        trace.unlink(missing_ok=True)
    lab_clock = LabClock(home.clock_file)
    lab_clock.reset()
    if start:
        lab_clock.stop(start)
