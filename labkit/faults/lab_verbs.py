"""The base of all fault verbs: the lab's home and its processes."""

from labkit.home import Home
from labkit.stack.supervisor import launch
from labkit.state import ServiceStatus

#: Stands for the names of all services or processes.
ALL = "all"


class LabVerbs:
    """The faults of one lab.

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
        process = self._process(name)
        return process["state"] == "up" and process["pid"] != not_pid


def label_of(process: ServiceStatus) -> str:
    """Return the name that people and logs use for a process: `goods-1`."""
    return f"{process['name']}-{process['instance']}"
