"""The processes of one lab: started, watched, started again when they die."""

import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.home import Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.files import Registry
from labkit.stack.boundaries import cross_fork
from labkit.stack.supervisor import fencing, service_process, spawn
from labkit.stack.supervisor.instances import BROKER
from labkit.stack.supervisor.spawn import Started

log = logging.getLogger(__name__)

_QUICK_DEATH_SECONDS = 1.0
_FORK_AGAIN_SECONDS = 0.5
_STOP_SECONDS = 3.0
_LEAVE_SECONDS = 8.0
_BLOCKING_SECONDS = 1.0


@dataclass
class Child:
    """One process of the lab, alive, dead or held down.

    Attributes:
        name: of the service.
        instance: which one of its kind.
        pid: 0 where it is dead.
        waiting: at its gate, until it is written down; None once it works.
        started: when, by the monotonic clock.
        restart_at: when it is started again; None where it is alive or held.
        held: whether a fault holds it down.
        endpoint: where it answers; empty until it does.
        quick_deaths: how often in a row it died soon after its start.
        leaves_by: when it must be gone for good; None where it stays.
        blocks_since: since when it stands still with its database locked; None where it does not.
    """

    name: str
    instance: int
    pid: int = 0
    waiting: Started | None = None
    started: float = 0.0
    restart_at: float | None = None
    held: bool = False
    endpoint: str = ""
    quick_deaths: int = 0
    leaves_by: float | None = None
    blocks_since: float | None = None

    @property
    def label(self) -> str:
        """How people and logs call it: `goods-1`."""
        return f"{self.name}-{self.instance}"

    def began(self, started: Started) -> None:
        """Note that it was started, and waits at its gate."""
        self.pid, self.waiting = started.pid, started
        self.started, self.restart_at = time.monotonic(), None
        self.blocks_since = None
        self.endpoint = ""

    def not_begun(self) -> None:
        """Note that it could not be started: it is tried again soon."""
        self.pid, self.endpoint = 0, ""
        self.restart_at = time.monotonic() + _FORK_AGAIN_SECONDS

    def go_on(self) -> None:
        """Let it work, if it waits at its gate."""
        if self.waiting:
            self.waiting.go_on()
            self.waiting = None

    def died(self) -> None:
        """Note that it is dead, and when it is due: at once, or later if that is a habit."""
        self.go_on()  # nobody hears it; the gate is closed
        quick = time.monotonic() - self.started < _QUICK_DEATH_SECONDS
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self.pid, self.endpoint = 0, ""
        wait = _QUICK_DEATH_SECONDS if self.quick_deaths > 1 else 0.0
        self.restart_at = None if self.held else time.monotonic() + wait

    def status(self) -> dict[str, Any]:
        """What `labkit status` says of it."""
        alive = "up" if self.endpoint else "starting"
        state = alive if self.pid else "held" if self.held else "down"
        return {
            "name": self.name,
            "instance": self.instance,
            "pid": self.pid or None,
            "endpoint": self.endpoint or None,
            "state": state,
        }


@dataclass
class Processes:
    """All children of one supervisor.

    Attributes:
        home: where the lab lives.
        lifeline: the end of the pipe that children read; they die when our end closes.
        lock: descriptor of the lock on the databases, which every service keeps.
        failpoints: of the supervisor.
        webs: service → descriptor of the socket on which it serves HTTP.
        children: label → child.
    """

    home: Home
    lifeline: int
    lock: int
    failpoints: Failpoints
    webs: dict[str, int]
    children: dict[str, Child] = field(default_factory=dict)

    def start(self, child: Child) -> None:
        """Start a service process, which waits until the state names it (`go_on`).

        Where the system has no process or no memory left for it, it is tried again later.
        """
        self.children[child.label] = child
        if self._began(child, lambda: self._start(child)) and child.name == service_process.CONSOLE:
            # nobody calls it, so that it is in no registry
            child.endpoint = "its socket, on which the supervisor listens"

    def start_broker(self, command: Callable[[], list[str]]) -> None:
        """Start the embedded broker, in the same way; the supervisor sees when it serves."""
        child = self.children.setdefault(f"{BROKER}-1", Child(BROKER, 1))
        self._began(child, lambda: spawn.run_program(command(), self.log(child.label)))

    def go_on(self) -> None:
        """Let all work who were started; the state names them."""
        for child in [one for one in self.children.values() if one.waiting]:
            child.go_on()
            self.failpoints.cross("supervisor.start_process.after_record")

    def _began(self, child: Child, start: Callable[[], Started]) -> bool:
        """Start a process; whether it could be."""
        try:
            cross_fork(self.failpoints, "supervisor.start_process.before_fork")
            child.began(start())
        except OSError as error:
            log.warning("%s cannot be started, and is tried again: %s", child.label, error)
            child.not_begun()
            return False
        self.failpoints.cross("supervisor.start_process.after_fork")
        return True

    def _start(self, child: Child) -> Started:
        web = self.webs.get(child.name)
        spec: dict[str, Any] = {"name": child.name, "instance": child.instance, "web": web}
        keep = tuple(number for number in (self.lock, web) if number is not None)
        if spawn.FORKS:
            work = lambda: service_process.run_process(self.home, **spec)  # noqa: E731  # needs this spec
            return spawn.fork(work, self.log(child.label), self.lifeline, keep)
        spec |= {"home": str(self.home.folder), "lifeline": self.lifeline}
        keep = (self.lifeline, *keep)
        return spawn.spawn(
            "labkit.stack.supervisor.service_process", spec, self.log(child.label), keep
        )

    def stop_all(self, how: signal.Signals) -> None:
        """Stop everything: politely for a while where `how` is SIGTERM, and then for certain."""
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self.children.values():
            child.held = True
            _kill(child, signal.SIGKILL if child.name == BROKER else how)
        while any(child.pid for child in self.children.values()):
            self.reap()
            if time.monotonic() > deadline:
                for child in self.children.values():
                    _kill(child, signal.SIGKILL)
            time.sleep(0.01)

    def reap(self) -> bool:
        """Take note of who died; whether anybody did."""
        dead = [one for one in self.children.values() if one.pid and spawn.ended(one.pid)]
        for child in dead:
            child.died()
        return bool(dead)

    def restart_due(self, broker_command: Callable[[], list[str]]) -> bool:
        """Start again whoever is due; whether anybody was."""
        now = time.monotonic()
        due = [one for one in self.children.values() if one.restart_at and one.restart_at <= now]
        for child in due:
            if child.name == BROKER:
                self.start_broker(broker_command)
            else:
                self.start(child)
        return bool(due)

    def find_endpoints(self) -> bool:
        """Learn from the registry who serves now; whether anything is new."""
        registry, new = Registry(self.home.registry), False
        for child in self.starting():
            for instance in registry.instances(child.name):
                if instance.pid == child.pid:
                    child.endpoint, new = instance.endpoint, True
        return new

    def starting(self) -> list[Child]:
        """Who is alive and does not serve yet."""
        return [child for child in self.children.values() if child.pid and not child.endpoint]

    def called(self, name: str) -> Child:
        """A child by its label, or by its service's name.

        Raises:
            ValueError: there is none; says which there are.
        """
        label = name if name in self.children else f"{name}-1"
        if label not in self.children:
            known = ", ".join(sorted(self.children))
            raise ValueError(f"{name}: there is no such process; there are {known}")
        return self.children[label]

    def hold(self, name: str) -> None:
        """Kill a process and do not start it again until it is released."""
        child = self.called(name)
        child.held, child.restart_at = True, None
        _kill(child, signal.SIGKILL)

    def release(self, name: str) -> None:
        """Start a process again that was held down."""
        child = self.called(name)
        child.held = False
        if not child.pid:
            child.restart_at = time.monotonic()

    def scale(self, name: str, number: int) -> list[Child]:
        """Start more of a service, or have the last ones finish and go.

        Returns:
            Who starts, and who goes; `bury` forgets these.
        """
        have = [child for child in self.children.values() if child.name == name]
        more = [Child(name, instance) for instance in range(len(have) + 1, number + 1)]
        for child in more:
            self.start(child)
        if have[number:]:
            self.failpoints.cross("supervisor.scale.before_stop")
        for child in have[number:]:
            child.held, child.restart_at = True, None
            child.leaves_by = time.monotonic() + _LEAVE_SECONDS
            _kill(child, signal.SIGTERM)
        return more + have[number:]

    def bury(self) -> bool:
        """Forget who left for good, and end who takes too long; whether anybody was forgotten."""
        leaving = [one for one in self.children.values() if one.leaves_by]
        for child in leaving:
            if not child.pid:
                del self.children[child.label]
            elif child.leaves_by and child.leaves_by < time.monotonic():
                _kill(child, signal.SIGKILL)
        return any(not child.pid for child in leaving)

    def fence(self) -> None:
        """End who stands still, and for long, with a database locked that others need."""
        kinds = Counter(child.name for child in self.children.values() if child.pid)
        for child in (one for one in self.children.values() if one.pid and kinds[one.name] > 1):
            now = time.monotonic()
            if not fencing.blocks(child.pid, self.home.databases / f"{child.name}.sqlite"):
                child.blocks_since = None
            elif child.blocks_since is None:
                child.blocks_since = now
            elif now - child.blocks_since > _BLOCKING_SECONDS:
                _kill(child, signal.SIGKILL)

    def log(self, label: str) -> Any:
        """Where a process writes its log."""
        return self.home.logs / f"{label}.log"


def _kill(child: Child, how: signal.Signals) -> None:
    if child.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, how)
