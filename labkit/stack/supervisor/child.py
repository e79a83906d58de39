"""One process of a lab, as its supervisor knows it."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field

from labkit.payment_platform.wiring import PLATFORM
from labkit.stack.releases.release import Release, own
from labkit.stack.supervisor.instances import BROKER
from labkit.stack.supervisor.spawn import WaitingChild
from labkit.state import ServiceStatus

_QUICK_DEATH_S = 1.0
#: What belongs to no release of the shop.
_NOT_OURS = (BROKER, PLATFORM.name)
_FORK_AGAIN_S = 0.5


@dataclass
class Child:
    """One process of the lab, alive, dead or held down.

    Attributes:
        name: of the service.
        instance: its number among those of its kind.
        release: of the shop, whose code it runs.
        pid: 0 where it is dead.
        waiting: at its gate, until the state names it; None once it works.
        started: the time of its start, by the monotonic clock.
        restart_at: the time of its next start; None where it is alive or held.
        held: whether a fault holds it down.
        endpoint: its address; empty until it serves.
        quick_deaths: how often in a row it died soon after its start.
        leaves_by: the time at which it must be gone for good; None where it stays.
        blocks_since: the time since which it is stopped with its database locked; None where it
            is not.
    """

    name: str
    instance: int
    release: Release = field(default_factory=own)
    pid: int = 0
    waiting: WaitingChild | None = None
    started: float = 0.0
    restart_at: float | None = None
    held: bool = False
    endpoint: str = ""
    quick_deaths: int = 0
    leaves_by: float | None = None
    blocks_since: float | None = None

    @property
    def label(self) -> str:
        """Return the name that people and logs use: `goods-1`."""
        return f"{self.name}-{self.instance}"

    def note_start(self, waiting: WaitingChild) -> None:
        """Note that the process was started, and waits at its gate."""
        self.pid, self.waiting = waiting.pid, waiting
        self.started, self.restart_at = time.monotonic(), None
        self.blocks_since = None
        self.endpoint = ""

    def note_failed_start(self) -> None:
        """Note that the process could not be started, and schedule the next attempt."""
        self.pid, self.endpoint = 0, ""
        self.restart_at = time.monotonic() + _FORK_AGAIN_S

    def go_on(self) -> None:
        """Let the process work, if it waits at its gate."""
        if self.waiting:
            self.waiting.go_on()
            self.waiting = None

    def note_death(self) -> None:
        """Note that the process is dead, and schedule its restart: later if deaths recur."""
        self.go_on()  # nobody is behind it any more; the gate is closed
        is_quick = time.monotonic() - self.started < _QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if is_quick else 0
        self.pid, self.endpoint = 0, ""
        delay = _QUICK_DEATH_S if self.quick_deaths > 1 else 0.0
        self.restart_at = None if self.held else time.monotonic() + delay

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send the process a signal, if it is there."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, how)

    @property
    def started_in_vain(self) -> bool:
        """Return True if the process has died since it was started."""
        return bool(self.started) and not self.pid

    def status(self) -> ServiceStatus:
        """Return the line of `labkit status`."""
        alive = "up" if self.endpoint else "starting"
        return {
            "name": self.name,
            "instance": self.instance,
            "pid": self.pid or None,
            "endpoint": self.endpoint or None,
            "state": alive if self.pid else "held" if self.held else "down",
            "release": None if self.name in _NOT_OURS else str(self.release.number),
        }
