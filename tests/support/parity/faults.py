"""Faults that are armed while the twin lives, as on a lab; and the slowness of a busy machine."""

import random
from collections.abc import Mapping, Sequence

from labkit.sim.deviations import CALM, CUSTOMERS

#: What a busy machine does to a crossing.
_LATE = ("delay:0.004", "delay:0.02", "delay:0.1", "delay:0.3", "delay:1")
#: What it does to one that it forgets for a while.
_VERY_LATE = ("delay:0.3", "delay:1", "delay:2")


class ArmedFaults:
    """Chooses what is armed at a point, and else now and then that it is a little late.

    Args:
        draw: what is late.
        rate: the share of crossings that are late.
        slow: what the points begin with that alone are late; empty: all are.
    """

    def __init__(self, draw: random.Random, rate: float, slow: str) -> None:
        self._draw = draw
        self._rate = rate
        self._slow = slow
        self._is_slow = False
        self._armed: dict[str, tuple[str, int]] = {}

    def slow_down(self) -> None:
        """Be late now and then from now on."""
        self._is_slow = True

    def arm(self, point: str, action: str, times: int = 1) -> None:
        """Arm a point for so many crossings."""
        self._armed[point] = action, times

    def remaining(self, point: str) -> int:
        """Return for how many crossings a point is armed still."""
        return self._armed.get(point, ("", 0))[1]

    def choose(self, point: str, crossing: int, actions: Sequence[str]) -> str:  # noqa: ARG002
        """Choose what happens at a crossing."""
        action, times = self._armed.pop(point, (CALM, 0))
        if times > 1:
            self._armed[point] = action, times - 1
        if times:
            return action
        can_be_late = point.startswith(CUSTOMERS) or any(
            action.startswith("delay") for action in actions
        )
        is_slow = self._is_slow and can_be_late and point.startswith(self._slow)
        is_late = is_slow and self._draw.random() < self._rate
        lateness = _VERY_LATE if self._slow else _LATE
        return self._draw.choice(lateness) if is_late else CALM

    def planned_at(self, point: str) -> Mapping[int, str]:  # noqa: ARG002
        """Return nothing: no turn of a process is armed."""
        return {}
