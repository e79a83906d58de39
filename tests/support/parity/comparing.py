"""A scenario with a crash on a real lab, and what the twin comes to with the same crash.

Where things race there are several right ends: which one it is depends on how long a restart takes
and on what is a little late. So the twin lives the scenario again and again in other circumstances,
until it comes to the end of the lab.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from labkit.faults import points
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.wiring import HOUSEKEEPING
from labkit.shop.wiring import SERVICES
from tests.support.endings import Ending, difference
from tests.support.parity.lab_play import LabStage
from tests.support.parity.twin_play import Circumstances, TwinStage

#: How long a process that died may be away: on a busy machine longer than a call waits.
RESTARTS_S = (0.2, 0.02, 0.6, 1.5, 3.0)
#: How much is late, where everything may be, and where one service or one handler is slow.
_RATES, _RATE_OF_SLOW = (0.02, 0.1, 0.3), 0.5
_SLOW = (
    *(f"{name}." for name in (*SERVICES, PLATFORM.name)),
    *(
        f"{name}.{step.name}.before_commit"
        for name, service in SERVICES.items()
        for step in service.handlers.values()
    ),
)
MAX_LIVES = 500


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        scenario: its name.
        crash: the failpoint at which a process died.
        lives: how many the twin took to come to the end of the lab.
        difference: what differs, in words; empty if the twin came to that end.
    """

    scenario: str
    crash: str
    lives: int
    difference: str

    def __str__(self) -> str:
        """Return it as a line."""
        ending = self.difference or f"the same end, in {self.lives} lives of the twin"
        return f"{self.scenario} with a crash at {self.crash}: {ending}"


def crashes_of(twin: TwinStage, scenario: str) -> list[str]:
    """List the failpoints that a scenario crosses by itself, at which a process can die."""
    crossed = {*twin.play(scenario).crossed} & points.catalogue().keys()
    return sorted(point for point in crossed if point.split(".")[1] not in HOUSEKEEPING)


def compare(lab: LabStage, twin: TwinStage, scenario: str, crash: str) -> Comparison:
    """Play a scenario with a crash on both."""
    real = lab.play(scenario, crash)
    first: Ending = {}
    problems: set[str] = set()
    for lives, circumstances in enumerate(_circumstances(f"{scenario} {crash}"), 1):
        end = twin.play(scenario, crash, circumstances)
        problems |= {*end.problems}
        if end.is_crashed == real.is_crashed and end.ending == real.ending:
            break
        first = first or end.ending
        if lives == MAX_LIVES:
            return Comparison(scenario, crash, lives, "\n" + difference(real.ending, first))
    return Comparison(scenario, crash, lives, "; ".join(sorted(problems)))


def _circumstances(seed: str) -> Iterator[Circumstances]:
    """Yield what may be left to chance: at first only how long a restart takes."""
    for restart_s in RESTARTS_S:
        yield Circumstances(restart_s=restart_s)
    draw = random.Random(seed)
    for number in count(1):
        slow = draw.choice(_SLOW) if number % 3 else ""
        late = _RATE_OF_SLOW if slow else draw.choice(_RATES)
        yield Circumstances(number, draw.choice(RESTARTS_S), late, slow)
