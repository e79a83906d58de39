"""A loop looks again when the next row is due, soon after news, and else seldom."""

from collections.abc import Coroutine
from typing import Any

import pytest

from labkit.runtime.messaging.alarm import Alarm
from labkit.sim import process
from labkit.sim.clocks import SimClock
from labkit.sim.loop import SimLoop
from labkit.sim.process import Process


class Watch:
    """A loop in virtual time, and an alarm on it."""

    def __init__(self) -> None:
        self.loop = SimLoop(process.not_before)  # type: ignore[abstract]  # what it lacks raises
        self.clock = SimClock(self.loop, Process("goods", 1, 1))
        self.alarm = Alarm(self.clock)

    def seconds_of(self, pause: Coroutine[Any, Any, None]) -> float:
        """Return how long a pause takes."""
        task, began = self.loop.create_task(pause), self.loop.time()
        assert self.loop.run_until(task.done, 60)
        return round(self.loop.time() - began, 3)

    def pause(self, due_in_s: float | None) -> Coroutine[Any, Any, None]:
        now = self.clock.wall_ms()
        return self.alarm.pause(None if due_in_s is None else now + int(due_in_s * 1000))


@pytest.mark.parametrize(
    ("due_in_s", "lasts_s"), [(None, 1.0), (-5, 0.3), (0.1, 0.3), (0.6, 0.6), (5, 1.0)]
)
def test_a_pause_lasts_until_the_next_row_is_due(due_in_s: float | None, lasts_s: float) -> None:
    """It is never so short that a loop does nothing but look, nor so long that others wait."""
    watch = Watch()
    assert watch.seconds_of(watch.pause(due_in_s)) == lasts_s


@pytest.mark.parametrize(("rings_at_s", "lasts_s"), [(0.0, 0.3), (0.2, 0.3), (0.5, 0.5)])
def test_news_end_it(rings_at_s: float, lasts_s: float) -> None:
    """Also news that came while the loop looked."""
    watch = Watch()
    if rings_at_s:
        watch.loop.call_later(rings_at_s, watch.alarm.ring)
    else:
        watch.alarm.ring()
    assert watch.seconds_of(watch.pause(None)) == lasts_s
    assert watch.seconds_of(watch.pause(None)) == 1.0, "the news are known now"
