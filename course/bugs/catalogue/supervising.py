"""Bugs of what starts the services and watches over them."""

import shutil
from collections.abc import Callable
from datetime import datetime

from course.bugs.bug import bug
from labkit.home import DATABASES, Home
from labkit.stack.boundaries import Cross, cross_fork, uncrossed
from labkit.stack.setup.seeds import Seeds, files, seed
from labkit.stack.supervisor.child import Child
from labkit.stack.supervisor.children import Children
from labkit.stack.supervisor.spawn import WaitingChild
from labkit.stack.supervisor.supervisor import Supervisor

no_lifeline = bug(
    "helper-outlives-its-supervisor",
    "Putting the first data in takes a second, and then the process ends by itself.",
    "reset:supervisor.start_helper.after_record",
    breaks="nothing outlives its supervisor",
    waits=True,
)


@no_lifeline.replaces("labkit.stack.supervisor.spawn:hold_lifeline")
def _(_lifeline: int) -> None:
    """Look after nobody."""


@no_lifeline.replaces("labkit.stack.supervisor.spawn:_die_with")
def _(_parent: int) -> None:
    """Ask the kernel for nothing."""


file_by_file = bug(
    "databases-replaced-one-by-one",
    "Each new file takes the place of the old one in one step, so none is ever half there.",
    "reset:helper.fill.after_rename",
    breaks="nothing without an order",
)


@file_by_file.replaces("labkit.stack.setup.databases:fill")
def _(
    home: Home, seeds: Seeds, now: datetime, cross: Cross = uncrossed, _keep: object = ()
) -> None:
    fresh = home.folder / "databases.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    seed(files(fresh), seeds, now, cross)
    for name in DATABASES:
        for end in ("-wal", "-shm"):
            (home.databases / f"{name}.sqlite{end}").unlink(missing_ok=True)
        (fresh / f"{name}.sqlite").replace(home.databases / f"{name}.sqlite")
        cross("helper.fill.after_rename")


fork_succeeds = bug(
    "fork-always-succeeds",
    "A process was started a thousand times, and it never failed.",
    "all-killed:supervisor.start_process.before_fork",
    breaks="the supervisor ended, and nobody killed it",
    action="refuse",
)


@fork_succeeds.replaces("labkit.stack.supervisor.children:Children._try_start")
def _(self: Children, child: Child, start: Callable[[], WaitingChild]) -> bool:
    cross_fork(self.failpoints, "supervisor.start_process.before_fork")
    child.note_start(start())
    self.failpoints.cross("supervisor.start_process.after_fork")
    return True


@fork_succeeds.replaces("labkit.stack.supervisor.supervisor:Supervisor.turn")
def _(self: Supervisor) -> None:
    self._wakeups.wait(0.02)
    self._poll()
