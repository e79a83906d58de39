"""The supervisor: one process that starts the lab's processes and starts again what dies.

It has one thread and no connection, so that it can fork; it has imported everything, so that a
forked service is ready in a fraction of a second. It is told what to do over a loopback socket,
by who knows the home's secret.
"""

import json
import logging
import os
import secrets
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from labkit.home import DATABASES, ENDPOINTS, Home, take_lock, write_whole
from labkit.platform import keys
from labkit.runtime import logs, tracing
from labkit.runtime.clock import LabClock
from labkit.settings import Settings
from labkit.stack import (
    aside,
    broker_binary,
    children,
    control,
    databases,
    logfiles,
    messaging,
    ports,
    process,
)
from labkit.stack.instances import BROKER, check_instances
from labkit.stack.processes import Child, Processes
from labkit.stack.seeds import Seeds

log = logging.getLogger(__name__)

_LOGS_SECONDS = 1.0
_READY_SECONDS = 60  # a whole class may start at once
_MAX_QUICK_DEATHS = 3


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

    Raises:
        CannotStart: the home is in use.
    """

    def __init__(
        self, home: Home, settings: Settings, instances: dict[str, int], stack: str,
        *, dies_with_stdin: bool,
    ) -> None:  # fmt: skip
        self.home = home
        self._settings = settings
        self._instances = instances
        self._stack = stack
        self._phase = "starting"
        self._state_is_old = False
        self._log = logs.set_up(ticking=False)
        self._logs_due = 0.0
        self._lock = take_lock(home.lock_file)
        if self._lock is None:
            raise CannotStart(f"a lab is up in {home.folder} already")
        before = home.state()
        self._generation = before.get("generation", 0)
        children.kill_left_over(before.get("processes", []))
        aside.bring_all_back(home)
        write_whole(home.settings_file, settings.model_dump_json())
        tracing.warm(settings.tracing)
        known = before.get("endpoints", {})
        port, self._port_keeper = ports.reserve(ports.of(known.get(BROKER)))
        self._broker = settings.broker or f"127.0.0.1:{port}"
        if not home.console_token_file.exists():  # the page that an operator has open stays good
            write_whole(home.console_token_file, secrets.token_urlsafe(32))
        webs = (*process.WEBS, process.CONSOLE)
        self._webs = {name: ports.listen(ports.of(known.get(name))) for name in webs}
        self._lifeline, self._our_end_of_it = os.pipe()
        self._processes = Processes(home, self._lifeline, self._sockets())
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
                self._fill(Seeds())
            if not all((self.home.keys / f"{name}.pem").exists() for name in keys.OWNERS):
                self._in_child(lambda: keys.make(self.home.keys), "the keys cannot be made")
            self._start_all()
            while self._phase != "stopping":
                self._turn()
        finally:
            self._processes.stop_all(signal.SIGTERM)
            self._write_state("down")

    # starting

    def _start_all(self) -> None:
        self._start_broker()
        for name in (*process.PROCESSES, process.CONSOLE):
            for instance in range(1, self._instances.get(name, 1) + 1):
                self._processes.start(Child(name, instance))
        self._await(self._all_serve, "the services did not come up")
        self._write_state("up")

    def _start_broker(self) -> None:
        if not self._settings.broker:
            command = broker_binary.command(ports.of(self._broker))
            self._processes.start_broker(command, self._broker)
        self._write_state(self._phase)
        self._await(lambda: ports.answers(self._broker), f"no broker answers at {self._broker}")
        self._in_child(lambda: messaging.make_topics(self.home), "the broker cannot be used")

    def _start_broker_again(self) -> None:
        try:
            self._start_broker()
        except CannotStart as error:  # the lab goes on without a broker, and tries again
            log.warning("%s", error)
            self._processes.called(BROKER).restart_at = time.monotonic() + 1

    def _prepare_databases(self) -> None:
        server = self._settings.mysql
        if not server:
            return databases.put_aside(self.home)
        self._in_child(lambda: databases.prepare(self.home, server), "MySQL cannot be used")
        return None

    def _prepare_registry(self) -> None:
        address = self._settings.zookeeper
        if address:
            from labkit.stack import zookeeper  # here and not in every child: it takes long

            self._in_child(
                lambda: zookeeper.prepare(self.home, address), "ZooKeeper cannot be used"
            )

    def _fill(self, seeds: Seeds) -> None:
        now = LabClock(self.home.clock_file).now()
        fill = lambda: databases.fill(self.home, seeds, now)  # noqa: E731  # run in a child
        self._in_child(fill, "the databases cannot be made")

    def _in_child(self, work: Callable[[], None], complaint: str) -> None:
        """Do work that opens connections in a child, so that this process stays fit to fork."""
        log = self._processes.log("supervisor")
        _, status = os.waitpid(children.fork(work, log), 0)
        if status:
            last = log.read_text(errors="replace").strip().splitlines()[-1]
            raise CannotStart(f"{complaint}: {last}")

    def _all_serve(self) -> bool:
        self._tend()
        dying = [one.label for one in self._processes.children.values()
                 if one.quick_deaths >= _MAX_QUICK_DEATHS]  # fmt: skip
        if dying:
            raise CannotStart(f"{', '.join(dying)} dies at start: see labkit logs")
        return all(child.endpoint for child in self._processes.children.values())

    def _await(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not condition():
            if time.monotonic() > deadline or self._phase == "stopping":
                raise CannotStart(f"{complaint}: see {self.home.logs}")
            time.sleep(0.02)

    # watching

    def _hear(self, stdin: bool) -> None:
        """Be woken by signals, by commands, and by the end of standard input."""
        self._desk = ports.listen(0)
        self._signals, self._from_signals = socket.socketpair()
        for end in (self._signals, self._from_signals):
            end.setblocking(False)
        signal.set_wakeup_fd(self._from_signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._desk, selectors.EVENT_READ, self._command)
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
        """Wait for whatever comes, then see who died, who is due and who serves."""
        for key, _ in self._selector.select(0.02 if self._processes.starting() else 0.5):
            key.data()
        self._tend()
        self._tend_logs()

    def _tend(self) -> None:
        self._processes.fence()
        changed = self._processes.reap()
        changed |= self._processes.bury()
        changed |= self._processes.restart_due(self._start_broker_again)
        changed |= self._processes.find_endpoints()
        if changed or self._state_is_old:
            self._write_state(self._phase)

    def _tend_logs(self) -> None:
        """Keep the logs short, and our own calm."""
        if time.monotonic() > self._logs_due:
            logfiles.shorten(self.home.logs)
            self._log.tick()
            self._logs_due = time.monotonic() + _LOGS_SECONDS

    # being told what to do

    def _command(self) -> None:
        connection, _ = self._desk.accept()
        commands: dict[str, Callable[..., None]] = {
            "ping": self._ping, "down": self._down, "reset": self._reset,
            "hold": self._processes.hold, "release": self._processes.release, "scale": self._scale,
        }  # fmt: skip
        with connection:
            control.answer(connection, self.home.secret, commands)

    def _ping(self) -> None:
        """An answer says that somebody lives here, which a lock of a dying process does not."""

    def _down(self) -> None:
        self._phase = "stopping"

    def _scale(self, **wanted: int) -> None:
        """Have so many of each service from now on; wait until the new serve and the old went."""
        self._instances |= check_instances(wanted)
        changed = [child for name, number in wanted.items()
                   for child in self._processes.scale(name, number)]  # fmt: skip
        self._write_state(self._phase)

        def done() -> bool:
            self._tend()
            living = self._processes.children.values()
            return all(one.endpoint and not one.leaves_by for one in changed if one in living)

        self._await(done, "not all came up or went")

    def _reset(self, clock: str | None = None, **seeds: int | None) -> None:
        """Kill everything, empty everything, begin again: nothing from before can come later.

        The socket of the web is closed too, and with it every request that waits in its backlog.
        """
        wanted = Seeds(**seeds)
        self._processes.stop_all(signal.SIGKILL)
        self._processes.children.clear()
        self._listen_anew()
        for folder in (self.home.faults, self.home.traces):
            shutil.rmtree(folder)
            folder.mkdir()
        lab_clock = LabClock(self.home.clock_file)
        lab_clock.reset()
        if clock:
            lab_clock.stop(datetime.fromisoformat(clock))
        self._forget_topics()
        try:
            self._fill(wanted)
            self._start_all()
        except CannotStart:  # there is nothing to go on with
            self._phase = "stopping"
            raise

    def _forget_topics(self) -> None:
        """What lies at a broker that keeps it is of another life of the lab from now on."""
        if self._settings.broker:
            self._in_child(lambda: messaging.remove_topics(self.home), "topics are not removed")
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
        alive = [one.pid for one in self._processes.children.values() if one.pid]
        state = {
            "stack": self._stack, "home": str(self.home.folder), "phase": phase,
            "supervisor": os.getpid(), "supervisor_birth": children.birth(os.getpid()),
            "control": self._desk.getsockname()[1], "topic_prefix": self._topic_prefix(),
            "generation": self._generation, "endpoints": self._endpoints(),
            "databases": {name: self.home.database_url(name) for name in DATABASES},
            "services": [child.status() for child in self._in_order()],
            "processes": [{"pid": pid, "birth": children.birth(pid)} for pid in alive],
        }  # fmt: skip
        try:
            write_whole(self.home.state_file, json.dumps(state, indent=1))
            self._state_is_old = False
        except OSError as error:  # as on a full disk: all goes on, and it is written later
            if phase == "starting":  # nobody could be told that the lab is up
                raise
            self._state_is_old = True
            log.warning("the state cannot be written, and is tried again: %s", error)

    def _in_order(self) -> list[Child]:
        """All that makes up the shop, those of one service together however they came."""
        order = [BROKER, *process.PROCESSES]
        shop = [one for one in self._processes.children.values() if one.name != process.CONSOLE]
        return sorted(shop, key=lambda one: order.index(one.name))

    def _endpoints(self) -> dict[str, Any]:
        webs = {name: "http://{}:{}".format(*listener.getsockname())
                for name, listener in self._webs.items()}  # fmt: skip
        webs[process.CONSOLE] += f"/?token={self.home.console_token_file.read_text()}"
        registry = self._settings.zookeeper or str(self.home.registry)
        known = {**webs, "broker": self._broker, "registry": registry}
        return {name: known.get(name) for name in ENDPOINTS}

    def _topic_prefix(self) -> str:
        """What sets the lab's topics apart, where its broker is not its own."""
        if not self._settings.broker:
            return ""
        return messaging.prefix_of(self.home, self._generation)
