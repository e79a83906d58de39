"""The supervisor: one process that starts the lab's processes and starts again what dies.

It has one thread and no connection, so that it can fork; it has imported everything, so that a
forked service is ready in a fraction of a second. It is told what to do over a loopback socket,
by who knows the home's secret.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.home import Home, try_lock, write_whole
from labkit.runtime.clock import LabClock
from labkit.runtime.failpoints import Armoury
from labkit.runtime.registry import Registry
from labkit.settings import Settings
from labkit.shop.tables import TABLES
from labkit.shop.wiring import SERVICES
from labkit.stack import broker_binary, children, control, process
from labkit.stack.seeds import Seeds, seed

_READY_SECONDS = 20
_QUICK_DEATH_SECONDS = 1.0
_BROKER = "broker"
_DATABASES = ("order", "goods", "coupon", "user", "pay", "log", "platform")


class CannotStart(Exception):
    """The lab cannot come up; the message is one line that says what to do."""


@dataclass
class Child:
    """One process of the lab, alive, dead or held down."""

    name: str
    instance: int
    pid: int = 0
    started: float = 0.0
    restart_at: float | None = None
    held: bool = False
    endpoint: str = ""

    @property
    def label(self) -> str:
        """How people and logs call it: `goods-1`."""
        return f"{self.name}-{self.instance}"


@dataclass
class Supervisor:
    """The processes of one home.

    Args:
        home: where the lab lives.
        settings: of the lab, kept in the home for all processes.
        instances: service → how many.
        dies_with_stdin: whether the lab goes when standard input ends (a notebook's lab).
    """

    home: Home
    settings: Settings
    instances: dict[str, int]
    dies_with_stdin: bool
    children: dict[str, Child] = field(default_factory=dict)
    phase: str = "starting"
    generation: int = 0

    def run(self) -> None:
        """Bring the lab up and watch over it until told to stop.

        Raises:
            CannotStart: with one line for people.
        """
        self._lock = try_lock(self.home.lock_file)
        if self._lock is None:
            raise CannotStart("a lab is up in this home already")
        self._before = self.home.state()
        children.kill_left_over(self._before.get("processes", []))
        write_whole(self.home.settings_file, self.settings.model_dump_json())
        self._lifeline, self._lifeline_end = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._listen()
        if not all((self.home.databases / f"{name}.sqlite").exists() for name in TABLES):
            self._fill(Seeds())
        self._start_all()
        try:
            self._watch()
        finally:
            self._stop_all()
            self._write_state("down")

    # starting and stopping

    def _start_all(self) -> None:
        self._start_broker()
        for name in SERVICES:
            for instance in range(1, self.instances.get(name, 1) + 1):
                self._start(Child(name, instance))
        self._await(self._all_serve, "the services did not come up: see the logs in the home")
        self._write_state("up")

    def _start_broker(self) -> None:
        if self.settings.broker:
            self._broker = self.settings.broker
            self._write_state(self.phase)
        else:
            child = self.children.setdefault(_BROKER, Child(_BROKER, 1))
            child.pid, self._broker = self._run_broker()
            child.endpoint, child.started = self._broker, time.monotonic()
            self._write_state(self.phase)
            self._await(lambda: _answers(self._broker), "the broker did not come up")
        self._in_child(lambda: process.make_topics(self.home), "the broker makes no topics")

    def _run_broker(self) -> tuple[int, str]:
        known = (self._before.get("endpoints") or {}).get(_BROKER) or ""
        port = _free_port(int(known.rpartition(":")[2] or 0))
        command = broker_binary.command(port)
        return children.run_program(command, self._log(_BROKER)), f"127.0.0.1:{port}"

    def _start(self, child: Child) -> None:
        web = self._listener.fileno() if child.name in process.WEBS else None
        spec: dict[str, Any] = {"name": child.name, "instance": child.instance,
                                "lifeline": self._lifeline, "web": web}  # fmt: skip
        keep = tuple(number for number in (self._lifeline, web) if number is not None)
        log = self._log(child.label)
        if children.FORKS:
            child.pid = children.fork(lambda: process.run_process(self.home, **spec), log, keep)
        else:
            spec["home"] = str(self.home.folder)
            child.pid = children.spawn("labkit.stack.process", spec, log, keep)
        child.started, child.restart_at, child.endpoint = time.monotonic(), None, ""
        self.children[child.label] = child

    def _stop_all(self, how: signal.Signals = signal.SIGTERM) -> None:
        for child in self.children.values():
            child.restart_at = None
            child.held = True
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL if child.name == _BROKER else how)
        deadline = time.monotonic() + 3
        while any(child.pid for child in self.children.values()):
            self._reap()
            if time.monotonic() > deadline:
                self._stop_all(signal.SIGKILL)
            time.sleep(0.01)
        self.children.clear()

    def _fill(self, seeds: Seeds) -> None:
        self._in_child(lambda: seed(self.home, seeds), "the databases cannot be made")

    def _in_child(self, work: Callable[[], None], complaint: str) -> None:
        """Do work that opens connections in a child, so that this process stays fit to fork."""
        log = self._log("supervisor")
        pid = children.fork(work, log)
        _, status = os.waitpid(pid, 0)
        if status:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CannotStart(f"{complaint}: {' '.join(last)}")

    # watching

    def _listen(self) -> None:
        known = (self._before.get("endpoints") or {}).get("order-web") or ""
        self._listener = _listener(int(known.rpartition(":")[2] or 0))
        self._desk = _listener(0)
        self._signals, writer = socket.socketpair()
        for end in (self._signals, writer):
            end.setblocking(False)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self._selector.register(self._desk, selectors.EVENT_READ, self._command)
        self._selector.register(self._signals, selectors.EVENT_READ, self._drain)
        if self.dies_with_stdin:
            self._selector.register(0, selectors.EVENT_READ, self._end_with_stdin)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.phase = "stopping"

    def _watch(self) -> None:
        while self.phase != "stopping":
            self._turn(0.5)

    def _turn(self, seconds: float) -> None:
        """Wait a little for whatever comes, then see who died and who is due."""
        for key, _ in self._selector.select(seconds):
            key.data()
        changed = self._reap()
        for child in list(self.children.values()):
            if child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._restart(child)
                changed = True
        if changed or self._find_endpoints():
            self._write_state(self.phase)

    def _drain(self) -> None:
        self._signals.recv(1024)

    def _end_with_stdin(self) -> None:
        if not os.read(0, 1024):
            self.phase = "stopping"

    def _reap(self) -> bool:
        died = False
        for child in self.children.values():
            if child.pid and os.waitpid(child.pid, os.WNOHANG) != (0, 0):
                lived = time.monotonic() - child.started
                child.pid, child.endpoint, died = 0, "", True
                wait = 0.0 if lived > _QUICK_DEATH_SECONDS else _QUICK_DEATH_SECONDS
                child.restart_at = None if child.held else time.monotonic() + wait
        return died

    def _restart(self, child: Child) -> None:
        child.restart_at = None
        if child.name == _BROKER:
            self._before = {"endpoints": {_BROKER: self._broker}}
            self._start_broker()
        else:
            self._start(child)

    def _find_endpoints(self) -> bool:
        """Learn from the registry who serves now."""
        registry, changed = Registry(self.home.registry), False
        for child in self.children.values():
            if child.endpoint or not child.pid or child.name == _BROKER:
                continue
            for one in registry.instances(child.name, fresh=True):
                if one.pid == child.pid:
                    child.endpoint, changed = one.endpoint, True
        return changed

    def _all_serve(self) -> bool:
        self._find_endpoints()
        dead = [one.label for one in self.children.values() if self._reap() or not one.pid]
        if dead:
            raise CannotStart(f"{', '.join(dead)} died at start: see {self.home.logs}")
        return all(child.endpoint for child in self.children.values())

    def _await(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise CannotStart(f"{complaint} ({self.home.logs})")
            time.sleep(0.02)

    # being told what to do

    def _command(self) -> None:
        connection, _ = self._desk.accept()
        with connection:
            commands: dict[str, Callable[..., None]] = {"down": self._down, "reset": self._reset,
                        "hold": self._hold, "release": self._release}  # fmt: skip
            control.answer(connection, self.home.secret, commands)

    def _down(self) -> None:
        self.phase = "stopping"

    def _reset(self, clock: str | None = None, **seeds: int | None) -> None:
        """Kill everything, empty everything, begin again: nothing from before can come later."""
        wanted = Seeds(**seeds)
        held_ports = {"order-web": self._endpoint("order-web"), _BROKER: self._broker}
        self._stop_all(signal.SIGKILL)
        self._listener.close()
        for folder in (self.home.databases, self.home.faults):
            shutil.rmtree(folder)
            folder.mkdir()
        lab_clock = LabClock(self.home.clock_file)
        lab_clock.reset()
        if clock:
            lab_clock.stop(datetime.fromisoformat(clock))
        self.generation += 1
        self._before = {"endpoints": held_ports}
        self._listener = _listener(int(held_ports["order-web"].rpartition(":")[2]))
        self._fill(wanted)
        self._start_all()

    def _hold(self, label: str) -> None:
        """Kill a process and do not start it again until it is released."""
        child = self._child(label)
        child.held, child.restart_at = True, None
        if child.pid:
            os.kill(child.pid, signal.SIGKILL)

    def _release(self, label: str) -> None:
        child = self._child(label)
        child.held = False
        if not child.pid:
            child.restart_at = time.monotonic()

    def _child(self, label: str) -> Child:
        label = label if label in self.children else f"{label}-1"
        if label not in self.children:
            raise ValueError(
                f"{label}: there is no such process; there are {sorted(self.children)}"
            )
        return self.children[label]

    # what others see

    def _write_state(self, phase: str) -> None:
        self.phase = phase if self.phase != "stopping" else self.phase
        births = [{"pid": pid, "birth": children.birth(pid)}
                  for pid in (one.pid for one in self.children.values()) if pid]  # fmt: skip
        state = {
            "stack": "embedded",
            "home": str(self.home.folder),
            "phase": phase,
            "supervisor": os.getpid(),
            "supervisor_birth": children.birth(os.getpid()),
            "control": self._desk.getsockname()[1],
            "topic_prefix": self._topic_prefix(),
            "endpoints": {
                "order-web": self._endpoint("order-web"), "pay-web": None, "platform": None,
                "console": None, "broker": self._broker, "registry": str(self.home.registry),
            },
            "databases": {name: self.home.database_url(name) if name in TABLES else None
                          for name in _DATABASES},
            "services": [_as_status(child) for child in self.children.values()],
            "processes": births,
        }  # fmt: skip
        write_whole(self.home.state_file, json.dumps(state, indent=1))

    def _endpoint(self, _name: str) -> str:
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def _topic_prefix(self) -> str:
        """Labs may share a broker that is not theirs, and a reset must not see what was before."""
        if not self.settings.broker:
            return ""
        return f"labkit-{self.home.secret[:8]}-{self.generation}-"

    def _log(self, label: str) -> Any:
        return self.home.logs / f"{label}.log"


def _as_status(child: Child) -> dict[str, Any]:
    state = (
        "up" if child.endpoint else "starting" if child.pid else "held" if child.held else "down"
    )
    return {"name": child.name, "instance": child.instance, "pid": child.pid or None,
            "endpoint": child.endpoint or None, "state": state}  # fmt: skip


def _listener(port: int) -> socket.socket:
    """Listen on the loopback, on a wanted port where it is free, else on any."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def _free_port(wanted: int) -> int:
    with _listener(wanted) as probe:
        port: int = probe.getsockname()[1]
        return port


def _answers(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Run a supervisor: `python -m labkit.stack.supervisor '{"home": …}'`."""
    spec = json.loads(sys.argv[1])
    home = Home(spec["home"]).make()
    Armoury(home.faults)
    supervisor = Supervisor(home, Settings(), spec["instances"], spec["dies_with_stdin"])
    try:
        supervisor.run()
    except (CannotStart, OSError) as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main()
