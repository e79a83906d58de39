"""The processes of a lab from outside: who they are, and whether they are gone."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from labkit.home import Home
from labkit.stack.supervisor import launch


def processes(home: Path) -> dict[str, int]:
    """name → pid of every living process of a lab, the broker and the supervisor included."""
    status = launch.status(Home(home))
    pids = {process["name"]: process["pid"] for process in status["services"]}
    pids["supervisor"] = status["supervisor"]
    return {name: pid for name, pid in pids.items() if pid}


def gone(pids: Mapping[str, int]) -> bool:
    """Return True if processes are no more; a zombie is no more."""
    return not any(map(_lives, pids.values()))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
