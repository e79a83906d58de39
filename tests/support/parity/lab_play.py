"""Scenarios of the matrix on a real lab."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from labkit.faults import points
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Customer
from labkit.matrix.labs import RunnerLab, open_lab
from labkit.matrix.scenario import SCENARIOS
from labkit.ops.reader import Reader
from labkit.stack.supervisor import launch
from labkit.waiting import poll_until, wait_until
from tests.support.endings import Ending, ending_of_lab
from tests.support.parity.twin_play import SEEDS, finish

_SETTLED_S, _BACK_S = 60.0, 60.0
_LATE_S = 2.0  # in which background work reaches its failpoint, if at all


@dataclass(frozen=True)
class LabEnd:
    """The end of a scenario on a lab.

    Attributes:
        ending: all tables.
        is_crashed: whether the crash has happened.
    """

    ending: Ending
    is_crashed: bool


class LabStage:
    """A lab on which one scenario after the other is played.

    Args:
        lab: used by this alone.
    """

    def __init__(self, lab: RunnerLab) -> None:
        self._lab = lab

    def play(self, name: str, crash: str) -> LabEnd:
        """Play a scenario with a crash at a failpoint, on the first data."""
        lab = self._lab
        points.disarm(lab.home)
        lab.reset(**SEEDS.model_dump(exclude_none=True))
        reader = Reader(lab.home)
        try:
            customer = Customer(lab.client, reader, count(1, 2))
            context = ScenarioContext(lab, reader, customer, frozenset({crash}))
            script = SCENARIOS[name].script(context)
            next(script)
            lab.settle(_SETTLED_S)
            self._finish(script, crash)
        finally:
            reader.close()
        return LabEnd(ending_of_lab(lab), not points.remaining(lab.home, crash))

    def _finish(self, script: Iterator[None], crash: str) -> None:
        """Play the rest of a script with a crash, until all is up again and has settled."""
        lab, service = self._lab, crash.partition(".")[0]
        before = self._pids().get(service)
        points.arm(lab.home, crash, "crash")
        finish(script)
        lab.settle(_SETTLED_S)
        if poll_until(lambda: not points.remaining(lab.home, crash), _LATE_S):
            wait_until(
                lambda: self._pids().get(service, before) != before,
                f"{service} is back after it died",
                _BACK_S,
            )
        lab.settle(_SETTLED_S)

    def _pids(self) -> dict[str, int]:
        return {
            process["name"].removesuffix("-1"): process["pid"]
            for process in launch.status(self._lab.home)["services"]
            if process["pid"] and process["state"] == "up"
        }


@contextmanager
def lab_stage(folder: Path) -> Iterator[LabStage]:
    """Start a lab for a block, and take it down."""
    lab = open_lab(folder)
    try:
        yield LabStage(lab)
    finally:
        lab.down()
