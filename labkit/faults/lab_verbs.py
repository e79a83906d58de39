"""What every fault needs: the lab's home, its processes, and patience."""

import time
from collections.abc import Callable

from labkit.home import Home
from labkit.stack.supervisor import launch
from labkit.state import ServiceStatus

#: For the name of a service or a process: all of them.
ALL = "all"
_BACK_SECONDS = 15.0


class LabVerbs:
    """Faults of one lab.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def _processes(self) -> list[ServiceStatus]:
        return launch.status(self._home)["services"]

    def _process(self, name: str) -> ServiceStatus:
        for process in self._processes():
            if name in (process["name"], label_of(process)):
                return process
        raise ValueError(f"{name}: there is no such process; see: labkit status")

    def _pid(self, name: str) -> int:
        pid = self._process(name)["pid"]
        if pid is None:
            raise ValueError(f"{name} is down just now; see: labkit status")
        return pid

    def _serves(self, name: str, not_pid: int | None = None) -> bool:
        one = self._process(name)
        return bool(one["state"] == "up" and one["pid"] != not_pid)


def label_of(process: ServiceStatus) -> str:
    """Return how people and logs call a process of `labkit status`: `goods-1`."""
    return f"{process['name']}-{process['instance']}"


def until(condition: Callable[[], bool], complaint: str, seconds: float = _BACK_SECONDS) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: it was not in time; says the complaint.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{complaint} within {seconds:.0f} s")
        time.sleep(0.02)
