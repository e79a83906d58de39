"""The supervisor: one process that starts the lab's processes and starts again what dies.

It has one thread and no connection, so that it can fork; it has imported everything, so that a
forked service is ready in a fraction of a second. It is told what to do over a loopback socket,
by who knows the home's secret.
"""

import errno
import json
import logging
import os
import selectors
import shlex
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from labkit.home import DATABASES, ENDPOINTS, Home, take_lock, write_whole
from labkit.payment_api import keys
from labkit.runtime import logs
from labkit.runtime.clock import LabClock, anchor, as_time, wall_ms
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.runtime.telemetry import tracing
from labkit.settings import Settings
from labkit.stack import boundaries
from labkit.stack.setup import broker_binary, databases, hide, topics
from labkit.stack.setup.seeds import Seeds
from labkit.stack.supervisor import logfiles, ports, service_process, spawn
from labkit.stack.supervisor.children import Child, Processes
from labkit.stack.supervisor.helpers import Helper, Work
from labkit.stack.supervisor.holder import sign
from labkit.stack.supervisor.instances import BROKER, check_instances
from labkit.stack.supervisor.listening import Listener

log = logging.getLogger(__name__)

_LOGS_SECONDS = 1.0
_READY_SECONDS = 60  # a whole class may start at once
_MAX_QUICK_DEATHS = 3
_EARLIER_SECONDS = 15.0
_FORK_SECONDS = 10.0
_AGAIN_SECONDS = 0.5
#: What may be over a moment later: no process, no memory, no descriptor left.
_FOR_A_MOMENT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class CannotStart(Exception):
    """The lab cannot come up; the message is one line that says what to do."""


class Supervisor:
    """Watches over one home.

    Args:
        home: where the lab lives.
        settings: of the lab, kept in the home for all processes.
        instances: service → how many.
        stack: what its servers are part of, for people.
        dies_with_stdin: whether the lab goes when standard input ends (a notebook's lab).
        lock: of the home, where who started this process has taken it.

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
        self._settings = settings
        self._instances = instances
        self._stack = stack
        self._phase = "starting"
        self._state_is_old = False
        self._log = logs.set_up(ticking=False)
        self._logs_due = 0.0
        self._lock = take_lock(home.lock_file) if lock is None else lock
        if self._lock is None:
            raise CannotStart(f"a lab is up in {home.folder} already")
        sign(self._lock, os.getpid())
        anchor(home)
        before = home.state()
        self._generation = before.get("generation", 0)
        self._failpoints = boundaries.failpoints_in(home, boundaries.SUPERVISOR)
        self._databases_lock = self._end_earlier_life(before)
        hide.bring_all_back(home)
        write_whole(home.settings_file, settings.model_dump_json())
        tracing.warm(settings.tracing)
        known = before.get("endpoints", {})
        port, self._port_keeper = ports.reserve(ports.of(known.get(BROKER)))
        self._broker = settings.broker or f"127.0.0.1:{port}"
        home.console_token()  # so that a full disk is noticed now
        webs = (*service_process.WEBS, service_process.CONSOLE)
        self._webs = {name: ports.listen(ports.of(known.get(name))) for name in webs}
        self._lifeline, self._our_end_of_it = os.pipe()
        self._processes = Processes(
            home, self._lifeline, self._databases_lock, self._failpoints, self._sockets()
        )
        self._helpers: list[Helper] = []
        self._topics: Helper | None = None
        self._topics_at = 0.0
        self._hear(dies_with_stdin)

    def run(self) -> None:
        """Bring the lab up and watch over it until told to stop.

        Raises:
            CannotStart: with one line for people.
        """
        try:
            self._prepare_databases()
            self._prepare_registry()
            if not self.home.filled():
                self._fill("start", Seeds(), LabClock(self.home.clock_file).now())
            if not all((self.home.keys / f"{name}.pem").exists() for name in keys.OWNERS):
                make = lambda _: keys.make(self.home.keys)  # noqa: E731  # run in a helper
                self._have_done("make_keys", make, "the keys cannot be made")
            self._start_all()
            while self._phase != "stopping":
                self._turn()
                self._desk.obey()
        finally:
            self._failpoints.cross("supervisor.down.before_stop")
            self._end_helpers()
            self._processes.stop_all(signal.SIGTERM)
            self._failpoints.cross("supervisor.down.after_stop")
            if not self._home_is_gone():  # what is in its place is another lab's
                self._write_state("down")

    # starting

    def _end_earlier_life(self, before: dict[str, Any]) -> int:
        """End what an earlier supervisor left, and take the lock that none of it may hold.

        Returns:
            The lock on the databases, which all that works on them keeps for as long as it lives.

        Raises:
            CannotStart: somebody whom no state names still works on them.
        """
        self._failpoints.cross("supervisor.start.before_stop")
        spawn.kill_left_over(before.get("processes", []))
        lock = take_lock(self.home.databases_lock_file, _EARLIER_SECONDS)
        if lock is None:
            file = shlex.quote(str(self.home.databases_lock_file))
            raise CannotStart(
                f"a process of an earlier run still works on the databases in {self.home.folder}: "
                f"end it (fuser {file} names it), then labkit up"
            )
        self._failpoints.cross("supervisor.start.after_stop")
        return lock

    def _start_all(self) -> None:
        self._start_broker()
        for name in (*service_process.PROCESSES, service_process.CONSOLE):
            for instance in range(1, self._instances.get(name, 1) + 1):
                self._processes.start(Child(name, instance))
        self._write_state(self._phase)
        self._await(self._all_serve, "the services did not come up")
        self._write_state("up")

    def _start_broker(self) -> None:
        """Start the broker, or find the one that is named; wait until all topics are there."""
        if not self._settings.broker:
            self._broker_command()  # says what to do where there is none
            self._processes.start_broker(self._broker_command)
            self._write_state(self._phase)
            return self._await(self._all_serve, f"no broker answers at {self._broker}")
        self._await(lambda: ports.answers(self._broker), f"no broker answers at {self._broker}")
        return self._have_done("make_topics", self._make_topics, "the broker cannot be used")

    def _broker_command(self) -> list[str]:
        return broker_binary.command(ports.of(self._broker))

    def _make_topics(self, _cross: boundaries.Cross) -> None:
        topics.make_topics(self.home)

    def _prepare_databases(self) -> None:
        server = self._settings.mysql
        if not server:
            return databases.put_aside(self.home)
        prepare = lambda _: databases.prepare(self.home, server)  # noqa: E731  # run in a helper
        return self._have_done("prepare_mysql", prepare, "MySQL cannot be used")

    def _prepare_registry(self) -> None:
        address = self._settings.zookeeper
        if address:
            from labkit.stack.setup import zookeeper  # here and not in every child: it takes long

            prepare = lambda _: zookeeper.prepare(self.home, address)  # noqa: E731  # run in a helper
            self._have_done("prepare_zookeeper", prepare, "ZooKeeper cannot be used")

    def _fill(self, step: str, seeds: Seeds, now: datetime) -> None:
        fill = lambda cross: databases.fill(self.home, seeds, now, cross)  # noqa: E731  # run in a helper
        self._failpoints.cross(f"supervisor.{step}.before_fill")
        with suppress(FileNotFoundError):  # of other data clients were told nothing yet
            os.truncate(self.home.history_file, 0)
        self._have_done("fill", fill, "the databases cannot be made")
        self._failpoints.cross(f"supervisor.{step}.after_fill")

    def _have_done(self, name: str, work: Work, complaint: str) -> None:
        """Have a helper do work, and hear what is said meanwhile.

        Raises:
            CannotStart: it failed, or was killed; or the lab is told to go down.
        """
        helper = self._start_helper(name, work, complaint)
        self._write_state(self._phase)
        try:
            while not helper.ended():
                if self._phase == "stopping":
                    raise CannotStart(f"{complaint}: the lab is told to go down")
                self._turn()
        finally:
            helper.end()
            self._helpers.remove(helper)
        if why := helper.failure():
            raise CannotStart(f"{complaint}: {why}")

    def _start_helper(self, name: str, work: Work, complaint: str) -> Helper:
        """Start a helper, which begins when the state names it; a fork that fails is tried again.

        Raises:
            CannotStart: the system has no process left for it, for long.
        """
        deadline = time.monotonic() + _FORK_SECONDS
        while True:
            try:
                helper = self._make_helper(name, work)
            except OSError as error:
                late = time.monotonic() > deadline or self._phase == "stopping"
                if late or error.errno not in _FOR_A_MOMENT:
                    raise CannotStart(f"{complaint}: {error.strerror}") from error
                time.sleep(_AGAIN_SECONDS)
            else:
                return helper

    def _make_helper(self, name: str, work: Work) -> Helper:
        helper = Helper(
            self.home, name, work, self._lifeline, self._databases_lock, self._failpoints
        )
        self._helpers.append(helper)
        return helper

    def _end_helpers(self) -> None:
        for helper in self._helpers:
            helper.end()
        self._helpers.clear()
        self._topics = None

    def _all_serve(self) -> bool:
        dying = [
            child.label
            for child in self._processes.children.values()
            if child.quick_deaths >= _MAX_QUICK_DEATHS
        ]
        if dying:
            raise CannotStart(f"{', '.join(dying)} dies at start: see labkit logs")
        return all(child.endpoint for child in self._processes.children.values())

    def _await(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not condition():
            if time.monotonic() > deadline or self._phase == "stopping":
                raise CannotStart(f"{complaint}: see {self.home.logs}")
            self._turn()

    # watching

    def _hear(self, stdin: bool) -> None:
        """Be woken by signals, by commands, and by the end of standard input."""
        self._signals, self._from_signals = socket.socketpair()
        for end in (self._signals, self._from_signals):
            end.setblocking(False)
        signal.set_wakeup_fd(self._from_signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self._selector = selectors.DefaultSelector()
        at_once = {"ping": self._ping}
        in_turn: dict[str, Callable[..., None]] = {
            "reset": self._reset,
            "scale": self._scale,
            "hold": self._processes.hold,
            "release": self._processes.release,
        }
        self._desk = Listener(self._selector, self.home.secret, at_once, in_turn)
        self._selector.register(self._signals, selectors.EVENT_READ, self._drain)
        if stdin:
            self._selector.register(0, selectors.EVENT_READ, self._end_with_stdin)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._phase = "stopping"

    def _drain(self) -> None:
        self._signals.recv(1024)

    def _end_with_stdin(self) -> None:
        if not os.read(0, 1024):
            self._phase = "stopping"

    def _turn(self) -> None:
        """Wait for whatever comes, then see who died, who is due and who serves.

        Whatever the system refuses for a moment, the lab goes on.
        """
        busy = self._helpers or self._processes.starting()
        try:
            for key, _ in self._selector.select(0.02 if busy else 0.5):
                key.data()
            self._desk.drop_the_slow()
            if self._home_is_gone():
                self._phase = "stopping"
            else:
                self._tend()
        except OSError as error:
            log.warning("the supervisor goes on after: %s", error)
            time.sleep(0.02)  # what cannot be read now is there at once again
        self._tend_logs()

    def _home_is_gone(self) -> bool:
        """Return True if the home was removed, or moved away, so that nobody reaches this lab."""
        assert self._lock is not None  # or it would not have come up
        try:
            return not os.path.samestat(self.home.lock_file.stat(), os.fstat(self._lock))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _tend(self) -> None:
        for step in (
            self._processes.reap,
            self._processes.bury,
            lambda: self._processes.restart_due(self._broker_command),
            self._processes.find_endpoints,
            self._tend_topics,
        ):
            self._state_is_old |= step()
        if self._state_is_old:
            self._write_state(self._phase)
        self._processes.fence()

    def _tend_topics(self) -> bool:
        """Have a broker of ours that was started serve: it answers, and has the topics."""
        broker = self._processes.children.get(f"{BROKER}-1")
        if not broker or not broker.pid or broker.endpoint:
            return False
        if self._topics is None:
            if time.monotonic() < self._topics_at or not ports.answers(self._broker):
                return False
            self._topics_at = time.monotonic() + 2 * _AGAIN_SECONDS
            self._topics = self._make_helper("make_topics", self._make_topics)
            return True
        if not self._topics.ended():
            return False
        done, self._topics = self._topics, None
        self._helpers.remove(done)
        if why := done.failure():
            log.warning("the broker cannot be used, and is tried again: %s", why)
        else:
            broker.endpoint = self._broker
        return not why

    def _tend_logs(self) -> None:
        """Keep the logs short, and our own calm."""
        if time.monotonic() > self._logs_due:
            logfiles.shorten(self.home.logs)
            self._log.tick()
            self._logs_due = time.monotonic() + _LOGS_SECONDS

    # being told what to do

    def _ping(self) -> None:
        """An answer says that somebody lives here, which a lock of a dying process does not."""

    def _scale(self, **wanted: int) -> None:
        """Have so many of each service from now on; wait until the new serve and the old went."""
        self._instances |= check_instances(wanted)
        changed = [
            child
            for name, number in wanted.items()
            for child in self._processes.scale(name, number)
        ]
        self._write_state(self._phase)
        if any(one.leaves_by for one in changed):
            self._failpoints.cross("supervisor.scale.after_stop")

        def done() -> bool:
            living = self._processes.children.values()
            return all(one.endpoint and not one.leaves_by for one in changed if one in living)

        self._await(done, "not all came up or went")

    def _reset(self, clock: str | None = None, **seeds: int | None) -> None:
        """Kill everything, empty everything, begin again: nothing from before can come later.

        The socket of the web is closed too, and with it every request that waits in its backlog.
        """
        wanted, start = Seeds(**seeds), datetime.fromisoformat(clock) if clock else None
        if self._phase == "stopping":
            raise CannotStart("the lab is told to go down")
        self._phase = "starting"
        try:
            self._stop_for_reset()
            self._fill("reset", wanted, start or as_time(wall_ms()))
            self._forget(start)
            self._start_all()
            FailpointStore(self.home.faults).keep(())  # ours too, now that it is over
        except Exception as error:  # there is nothing to go on with
            self._phase = "stopping"
            again = f"the lab goes down; labkit up {self.home.option} starts it again"
            raise CannotStart(f"{error}; {again}") from error

    def _stop_for_reset(self) -> None:
        """Kill everything, so that nothing of it can come later."""
        self._failpoints.cross("supervisor.reset.before_stop")
        self._end_helpers()
        self._processes.stop_all(signal.SIGKILL)
        self._processes.children.clear()
        self._failpoints.cross("supervisor.reset.after_stop")
        self._listen_anew()
        self._forget_topics()

    def _forget(self, start: datetime | None) -> None:
        """Forget faults, traces and the time; not before the data is other data, which they fit."""
        boundaries.clear_faults(self.home)
        for trace in self.home.traces.iterdir():
            trace.unlink(missing_ok=True)
        lab_clock = LabClock(self.home.clock_file)
        lab_clock.reset()
        if start:
            lab_clock.stop(start)

    def _forget_topics(self) -> None:
        """What lies at a broker that keeps it is of another life of the lab from now on."""
        if self._settings.broker:
            remove = lambda _: topics.remove_topics(self.home)  # noqa: E731  # run in a helper
            self._have_done("remove_topics", remove, "topics are not removed")
        self._generation += 1

    def _listen_anew(self) -> None:
        for name, listener in self._webs.items():
            port = listener.getsockname()[1]
            listener.close()
            self._webs[name] = ports.listen(port)
        self._processes.webs = self._sockets()

    def _sockets(self) -> dict[str, int]:
        return {name: listener.fileno() for name, listener in self._webs.items()}

    # what others see

    def _write_state(self, phase: str) -> None:
        self._phase = phase if self._phase != "stopping" else self._phase
        working = [helper.pid for helper in self._helpers]
        alive = [child.pid for child in self._processes.children.values() if child.pid] + working
        state = {
            "stack": self._stack,
            "home": str(self.home.folder),
            "phase": phase,
            "supervisor": os.getpid(),
            "supervisor_birth": spawn.birth(os.getpid()),
            "control": self._desk.port,
            "topic_prefix": self._topic_prefix(),
            "generation": self._generation,
            "endpoints": self._endpoints(),
            "databases": {name: self.home.database_url(name) for name in DATABASES},
            "services": [child.status() for child in self._in_order()],
            "processes": [{"pid": pid, "birth": spawn.birth(pid)} for pid in alive],
        }
        self._failpoints.cross("supervisor.write_state.before_rename")
        try:
            write_whole(self.home.state_file, json.dumps(state, indent=1))
            self._state_is_old = False
        except OSError as error:  # as on a full disk: all goes on, and it is written later
            if phase == "starting":  # nobody could be told that the lab is up
                raise
            self._state_is_old = True
            log.warning("the state cannot be written, and is tried again: %s", error)
        self._failpoints.cross("supervisor.write_state.after_rename")
        for helper in self._helpers:
            helper.go_on()
        self._processes.go_on()

    def _in_order(self) -> list[Child]:
        """All that makes up the shop, those of one service together however they came."""
        order = [BROKER, *service_process.PROCESSES]
        shop = [
            child
            for child in self._processes.children.values()
            if child.name != service_process.CONSOLE
        ]
        return sorted(shop, key=lambda one: order.index(one.name))

    def _endpoints(self) -> dict[str, Any]:
        webs = {
            name: "http://{}:{}".format(*listener.getsockname())
            for name, listener in self._webs.items()
        }
        webs[service_process.CONSOLE] += f"/?token={self.home.console_token()}"
        registry = self._settings.zookeeper or str(self.home.registry)
        known = {**webs, "broker": self._broker, "registry": registry}
        return {name: known.get(name) for name in ENDPOINTS}

    def _topic_prefix(self) -> str:
        """What sets the lab's topics apart, where its broker is not its own."""
        if not self._settings.broker:
            return ""
        return topics.prefix_of(self.home, self._generation)
