"""The supervisor: one process that starts the lab's processes and starts again what dies.

It has one thread and no connection, so that it can fork; it has imported everything, so that a
forked service is ready in a fraction of a second. It takes commands over a loopback socket from
whoever knows the home's secret.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime

from labkit.files import take_lock, try_lock
from labkit.home import Home
from labkit.runtime.clock import anchor, as_time, wall_ms
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.telemetry import tracing
from labkit.settings import Settings
from labkit.stack import boundaries
from labkit.stack.setup import hide
from labkit.stack.setup.seeds import Seeds
from labkit.stack.supervisor import earlier_life, service_process
from labkit.stack.supervisor.broker import LabBroker
from labkit.stack.supervisor.child import Child
from labkit.stack.supervisor.children import Children
from labkit.stack.supervisor.helpers import Helpers
from labkit.stack.supervisor.holder import sign
from labkit.stack.supervisor.instances import check_instances
from labkit.stack.supervisor.listening import Commands
from labkit.stack.supervisor.logfiles import LogKeeper
from labkit.stack.supervisor.preparation import CannotStart, Preparation
from labkit.stack.supervisor.replacing import Replacing, release_of
from labkit.stack.supervisor.state_writer import StateWriter
from labkit.stack.supervisor.wakeups import Wakeups
from labkit.stack.supervisor.webs import WebSockets
from labkit.state import Phase

log = logging.getLogger(__name__)

_READY_S = 60  # a whole class may start at once
_MAX_QUICK_DEATHS = 3
_BUSY_WAIT_S, _IDLE_WAIT_S = 0.02, 0.5


class Supervisor:
    """The process that watches over one home.

    Args:
        home: where the lab lives.
        settings: of the lab, kept in the home for all processes.
        instances: service → how many.
        stack: the name of its stack, for people.
        dies_with_stdin: whether the lab ends when standard input ends (a notebook's lab).
        lock: of the home, where whoever started this process has taken it.

    Raises:
        CannotStart: the home is in use.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        instances: dict[str, int],
        stack: str,
        *,
        dies_with_stdin: bool,
        lock: int | None = None,
    ) -> None:
        self.home = home
        self._instances = instances
        self._phase = Phase.STARTING
        self._logs = LogKeeper(home.logs)
        self._lock = take_lock(home.lock_file) if lock is None else lock
        if self._lock is None:
            raise CannotStart(f"a lab is up in {home.folder} already")
        sign(self._lock, os.getpid())
        anchor(home)
        earlier = home.state()
        self._generation = earlier.get("generation", 0)
        self._failpoints = boundaries.failpoints_in(home, boundaries.SUPERVISOR)
        databases_lock = earlier_life.end_processes(home, earlier, self._failpoints)
        hide.bring_all_back(home)
        home.keep_settings(settings)
        tracing.warm(settings.tracing)
        endpoints = earlier.get("endpoints", {})
        self._broker = LabBroker(home, settings, endpoints)
        home.console_token()  # so that a full disk is noticed now
        self._webs = WebSockets((*service_process.WEBS, service_process.CONSOLE), endpoints)
        lifeline, self._our_end_of_it = os.pipe()
        self._children = Children(
            home, lifeline, databases_lock, self._failpoints, self._webs.descriptors()
        )
        self._helpers = Helpers(home, lifeline, databases_lock, self._failpoints)
        self._preparation = Preparation(
            home, settings, self._broker, self._helpers, self._failpoints, self
        )
        self._replacing = Replacing(home, instances, self._children, self._failpoints, self)
        self._wakeups = self._listen(dies_with_stdin)
        port = self._wakeups.port
        self._state = StateWriter(
            home, settings, stack, port, self._webs, self._broker, self._failpoints
        )

    def _listen(self, dies_with_stdin: bool) -> Wakeups:
        at_once: Commands = {"ping": lambda: None}  # to answer is all
        in_turn: Commands = {
            "reset": self._reset,
            "scale": self._scale,
            "start": self._replacing.start,
            "retire": self._replacing.retire,
            "note_release": self._replacing.note_release,
            "hold": self._children.hold,
            "release": self._children.release,
        }
        return Wakeups(
            self.home.secret, at_once, in_turn, self._stop, ends_with_stdin=dies_with_stdin
        )

    def run(self) -> None:
        """Bring the lab up and watch over it until it is to stop.

        Raises:
            CannotStart: with one line for people.
        """
        try:
            self._preparation.prepare()
            self._start_all()
            while not self.is_stopping:
                self.turn()
                self._wakeups.run_commands()
        finally:
            self._failpoints.cross("supervisor.down.before_stop")
            self._end_helpers()
            self._children.stop_all(signal.SIGTERM)
            self._failpoints.cross("supervisor.down.after_stop")
            if not self._home_is_gone():  # else another lab's may be in its place
                self.write_state(Phase.DOWN)

    # starting

    def _start_all(self) -> None:
        self._start_broker()
        for name in (*service_process.PROCESSES, service_process.CONSOLE):
            release = release_of(self.home, name)
            for instance in range(1, self._instances.get(name, 1) + 1):
                self._children.start(Child(name, instance, release))
        self.write_state()
        self.await_that(self._all_serve, "the services did not come up")
        self.write_state(Phase.UP)

    def _start_broker(self) -> None:
        """Start the broker, or find the one that is named; wait until all topics are there."""
        complaint = f"no broker answers at {self._broker.address}"
        if self._broker.is_ours:
            self._broker.command()  # raises what to do where there is none
            self._children.start_broker(self._broker.command)
            self.write_state()
            return self.await_that(self._all_serve, complaint)
        self.await_that(self._broker.answers, complaint)
        return self._preparation.make_topics()

    def _end_helpers(self) -> None:
        self._helpers.end_all()
        self._broker.forget_helper()

    def _all_serve(self) -> bool:
        dying = [
            child.label for child in self._children.all if child.quick_deaths >= _MAX_QUICK_DEATHS
        ]
        if dying:
            raise CannotStart(f"{', '.join(dying)} dies at start: see labkit logs")
        return all(child.endpoint for child in self._children.all)

    def await_that(
        self, condition: Callable[[], bool], complaint: str, seconds: float = _READY_S
    ) -> None:
        """Go on until a condition holds.

        Args:
            condition: the condition.
            complaint: what is said where it does not.
            seconds: that it may take.

        Raises:
            CannotStart: it does not hold in time, or the lab is to go down.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.is_stopping:
                raise CannotStart(f"{complaint}: see {self.home.logs}")
            self.turn()

    # watching

    def _stop(self) -> None:
        self._phase = Phase.STOPPING

    def turn(self) -> None:
        """Wait for the next event, then see which children died, are due, or serve.

        An error of the system that may pass never ends the lab.
        """
        is_busy = self._helpers or self._children.starting()
        try:
            self._wakeups.wait(_BUSY_WAIT_S if is_busy else _IDLE_WAIT_S)
            if self._home_is_gone():
                self._stop()
            else:
                self._poll()
        except OSError as error:
            log.warning("the supervisor goes on after: %s", error)
            time.sleep(_BUSY_WAIT_S)  # the event that cannot be read comes again at once
        self._logs.tend()

    def _home_is_gone(self) -> bool:
        """Return True if the home was removed, or moved away, so that nobody reaches this lab."""
        assert self._lock is not None  # or it would not have come up
        try:
            return not os.path.samestat(self.home.lock_file.stat(), os.fstat(self._lock))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _poll(self) -> None:
        """Notice what has changed, act on it, and write it down."""
        for notice in (
            self._children.collect_dead,
            self._children.forget_leavers,
            lambda: self._children.restart_due(self._broker.command),
            self._children.find_endpoints,
            lambda: self._broker.poll(self._children, self._helpers),
        ):
            self._state.is_stale |= notice()
        if self._state.is_stale:
            self.write_state()
        self._children.fence()

    @property
    def is_stopping(self) -> bool:
        """Return True if the lab is to go down."""
        return self._phase is Phase.STOPPING

    def write_state(self, phase: Phase | None = None) -> None:
        """Write the state, and let the processes work that it names.

        Args:
            phase: a new one, which a lab that is to go down does not enter any more.
        """
        phase = phase or self._phase
        if not self.is_stopping:
            self._phase = phase
        self._state.write(phase, self._generation, self._instances, self._children, self._helpers)

    # commands

    def _scale(self, **numbers: int) -> None:
        checked = check_instances(numbers)
        self._refuse_while_upgrading()
        self._replacing.scale(checked)

    def _refuse_while_upgrading(self) -> None:
        """Refuse what would start or end processes behind the back of an upgrade."""
        lock = try_lock(self.home.upgrade_lock_file, only_look=True)
        if lock is None:
            raise ValueError("services are being upgraded just now: wait for the end of that")
        os.close(lock)

    def _reset(self, clock: str | None = None, **seeds: int | None) -> None:
        """Kill everything, empty everything, begin again: nothing from before can come later."""
        wanted, start = Seeds(**seeds), datetime.fromisoformat(clock) if clock else None
        self._refuse_while_upgrading()
        if self.is_stopping:
            raise CannotStart("the lab is told to go down")
        self._phase = Phase.STARTING
        try:
            self._stop_for_reset()
            self._preparation.fill("reset", wanted, start or as_time(wall_ms()))
            earlier_life.forget(self.home, start)
            self._start_all()
            FailpointStore(self.home.faults).keep(())  # ours too, now that it is over
        except Exception as error:  # there is nothing to go on with
            self._stop()
            again = f"the lab goes down; labkit up {self.home.option} starts it again"
            raise CannotStart(f"{error}; {again}") from error

    def _stop_for_reset(self) -> None:
        """Kill everything, and drop the requests that wait in the backlogs."""
        self._failpoints.cross("supervisor.reset.before_stop")
        self._end_helpers()
        if unkillable := self._children.stop_all(signal.SIGKILL):
            raise CannotStart(f"the kernel holds {', '.join(unkillable)}, which was killed")
        self._children.by_label.clear()
        self._failpoints.cross("supervisor.reset.after_stop")
        self._webs.drop_waiting()
        self._start_generation()

    def _start_generation(self) -> None:
        """Leave behind whatever a broker that is not ours keeps of the lab's earlier life."""
        if not self._broker.is_ours:
            self._preparation.remove_topics()
        self._generation += 1
