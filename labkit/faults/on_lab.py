"""What every fault needs: the lab's home, its processes, and patience."""

import time
from collections.abc import Callable
from typing import Any

from labkit.home import Home
from labkit.stack import launch

_BACK_SECONDS = 15.0


class OnLab:
    """Faults of one lab.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def _process(self, name: str) -> dict[str, Any]:
        for one in launch.status(self._home)["services"]:
            if name in (one["name"], f"{one['name']}-{one['instance']}"):
                found: dict[str, Any] = one
                return found
        raise ValueError(f"{name}: there is no such process; see: labkit status")

    def _serves(self, name: str, not_pid: int | None = None) -> bool:
        one = self._process(name)
        return bool(one["state"] == "up" and one["pid"] != not_pid)


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
