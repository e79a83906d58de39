"""The processes of one lab: started, watched, and started again when they die."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from labkit.home import Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.registry.files import FolderRegistry
from labkit.stack.boundaries import cross_fork
from labkit.stack.releases.release import Release
from labkit.stack.supervisor import fencing, service_process, spawn
from labkit.stack.supervisor.child import Child
from labkit.stack.supervisor.instances import BROKER
from labkit.stack.supervisor.spawn import WaitingChild
from labkit.waiting import poll_until

log = logging.getLogger(__name__)

_STOP_S = 3.0
#: A process that is killed is gone at once, unless the kernel holds it (state D).
_KILL_S = 5.0
_LEAVE_S = 8.0
_BLOCKING_S = 1.0
_POLL_S = 0.01


@dataclass
class Children:
    """All children of one supervisor.

    Attributes:
        home: where the lab lives.
        lifeline: the end of the pipe that children read; they die when our end closes.
        lock: descriptor of the lock on the databases, which every service keeps.
        failpoints: of the supervisor.
        webs: service → descriptor of the socket on which it serves HTTP.
        by_label: label → child.
    """

    home: Home
    lifeline: int
    lock: int
    failpoints: Failpoints
    webs: dict[str, int]
    by_label: dict[str, Child] = field(default_factory=dict)

    @property
    def all(self) -> list[Child]:
        """Return every child, dead or alive, in the order of the first starts."""
        return list(self.by_label.values())

    def start(self, child: Child) -> None:
        """Start a service process, which waits until the state names it (`go_on`).

        Where the system has no process or no memory left for it, it is tried again later.
        """
        self.by_label[child.label] = child
        if self._try_start(child, lambda: self._start(child)) and (
            child.name == service_process.CONSOLE
        ):
            # nobody calls it, so that it is in no registry
            child.endpoint = "its socket, on which the supervisor listens"

    def start_broker(self, command: Callable[[], list[str]]) -> None:
        """Start the embedded broker in the same way; the supervisor finds out when it serves."""
        child = self.by_label.setdefault(f"{BROKER}-1", Child(BROKER, 1))
        self._try_start(child, lambda: spawn.run_program(command(), self.log_of(child.label)))

    def go_on(self) -> None:
        """Let all children work that were started: the state names them."""
        for child in self.all:
            if child.waiting:
                child.go_on()
                self.failpoints.cross("supervisor.start_process.after_record")

    def _try_start(self, child: Child, start: Callable[[], WaitingChild]) -> bool:
        """Start a process; return False where the system has no room for it."""
        try:
            cross_fork(self.failpoints, "supervisor.start_process.before_fork")
            child.note_start(start())
        except OSError as error:
            log.warning("%s cannot be started, and is tried again: %s", child.label, error)
            child.note_failed_start()
            return False
        self.failpoints.cross("supervisor.start_process.after_fork")
        return True

    def _start(self, child: Child) -> WaitingChild:
        web = self.webs.get(child.name)
        keep = tuple(number for number in (self.lock, web) if number is not None)
        if spawn.FORKS and child.release.folder is None:
            work = partial(service_process.run_process, self.home, child.name, child.instance, web)
            return spawn.fork(work, self.log_of(child.label), self.lifeline, keep)
        spec = {
            "home": str(self.home.folder),
            "lifeline": self.lifeline,
            "name": child.name,
            "instance": child.instance,
            "web": web,
        }
        keep = (self.lifeline, *keep)
        return spawn.spawn(
            "labkit.stack.supervisor.spawned",
            spec,
            self.log_of(child.label),
            keep,
            child.release.environment,
        )

    def stop_all(self, how: signal.Signals) -> list[str]:
        """Send all children a signal, and kill those that are still there after a while.

        Returns:
            The labels of those that the kernel holds, so that even a kill does not end them.
        """
        for child in self.all:
            child.held = True
            child.kill(signal.SIGKILL if child.name == BROKER else how)
        if not poll_until(self._are_gone, _STOP_S, _POLL_S):
            for child in self.all:
                child.kill()
            poll_until(self._are_gone, _KILL_S, _POLL_S)
        unkillable = [child.label for child in self.all if child.pid]
        if unkillable:
            log.warning("the kernel holds what was killed: %s", ", ".join(unkillable))
        return unkillable

    def _are_gone(self) -> bool:
        self.collect_dead()
        return not any(child.pid for child in self.all)

    def collect_dead(self) -> bool:
        """Note the deaths of children; return True if there were any."""
        dead = [child for child in self.all if child.pid and spawn.ended(child.pid)]
        for child in dead:
            child.note_death()
        return bool(dead)

    def restart_due(self, broker_command: Callable[[], list[str]]) -> bool:
        """Start the children again that are due; return True if any was."""
        now = time.monotonic()
        due = [child for child in self.all if child.restart_at and child.restart_at <= now]
        for child in due:
            if child.name == BROKER:
                self.start_broker(broker_command)
            else:
                self.start(child)
        return bool(due)

    def find_endpoints(self) -> bool:
        """Look up in the registry which children serve now; return True if any is new."""
        registry, any_new = FolderRegistry(self.home.registry), False
        for child in self.starting():
            for instance in registry.instances(child.name):
                if instance.pid == child.pid:
                    child.endpoint, any_new = instance.endpoint, True
        return any_new

    def starting(self) -> list[Child]:
        """Return the children that are alive and do not serve yet."""
        return [child for child in self.all if child.pid and not child.endpoint]

    def get(self, name: str) -> Child:
        """Return a child by its label, or by its service's name.

        Raises:
            ValueError: there is none; says which there are.
        """
        children = [self.by_label[name]] if name in self.by_label else self.of(name)
        if not children:
            labels = ", ".join(sorted(self.by_label))
            raise ValueError(f"{name}: there is no such process; there are {labels}")
        return children[0]

    def hold(self, name: str) -> None:
        """Kill a process and do not start it again until it is released."""
        child = self.get(name)
        child.held, child.restart_at = True, None
        child.kill()

    def release(self, name: str) -> None:
        """Start a process again that was held down."""
        child = self.get(name)
        child.held = False
        if not child.pid:
            child.restart_at = time.monotonic()

    def of(self, name: str) -> list[Child]:
        """Return the children of a service, by their numbers."""
        children = [child for child in self.all if child.name == name]
        return sorted(children, key=lambda child: child.instance)

    def scale(self, name: str, number: int, release: Release) -> list[Child]:
        """Start more instances of a service, or let the last ones finish and leave.

        Args:
            name: of the service.
            number: how many there are to be.
            release: of those that start.

        Returns:
            The children that start, and those that leave; `forget_leavers` forgets these.
        """
        present = self.of(name)
        leavers = present[number:]
        starters = [self.add(name, release) for _ in range(number - len(present))]
        if leavers:
            self.failpoints.cross("supervisor.scale.before_stop")
        for child in leavers:
            self.retire(child)
        return starters + leavers

    def add(self, name: str, release: Release) -> Child:
        """Start one more instance of a service, under the first number that is free."""
        taken = {child.instance for child in self.of(name)}
        child = Child(name, next(each for each in count(1) if each not in taken), release)
        self.start(child)
        return child

    def retire(self, child: Child) -> None:
        """Let a child finish what it does, and leave for good."""
        child.held, child.restart_at = True, None
        child.leaves_by = time.monotonic() + _LEAVE_S
        child.kill(signal.SIGTERM)

    def forget_leavers(self) -> bool:
        """Forget the children that left for good, and kill those that take too long.

        Returns:
            True if any was forgotten.
        """
        leavers = [child for child in self.all if child.leaves_by]
        for child in leavers:
            if not child.pid:
                del self.by_label[child.label]
            elif child.leaves_by and child.leaves_by < time.monotonic():
                child.kill()
        return any(not child.pid for child in leavers)

    def fence(self) -> None:
        """Kill each child that stays stopped with a database locked that other instances need."""
        alive = Counter(child.name for child in self.all if child.pid)
        now = time.monotonic()
        for child in self.all:
            if not child.pid or alive[child.name] < 2:
                continue
            if not fencing.blocks(child.pid, self.home.databases / f"{child.name}.sqlite"):
                child.blocks_since = None
            elif child.blocks_since is None:
                child.blocks_since = now
            elif now - child.blocks_since > _BLOCKING_S:
                child.kill()

    def log_of(self, label: str) -> Path:
        """Return the path of a process's log."""
        return self.home.logs / f"{label}.log"
