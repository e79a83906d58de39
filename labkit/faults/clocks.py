"""Clocks that step."""

from collections.abc import Iterator

from labkit.faults.lab_verbs import ALL, label_of
from labkit.faults.standing_verbs import WITH_STEPS, StandingVerbs, one_of, seconds_of
from labkit.faults.verb import Reach, verb
from labkit.runtime.injection.standing import FaultKind, StandingFault


class ClockVerbs(StandingVerbs):
    """The faults of clocks."""

    @verb
    def clock_stepped(self, process: str, seconds: float) -> Iterator[Reach]:
        """Step the wall clock of one process by so many seconds: ahead, or back where below 0.

        When the block ends it steps back to where it belongs. Ids and stored deadlines come from
        this clock, and business times where the lab clock is not stopped.

        Args:
            process: its name in `labkit status`; `goods` is `goods-1`. `all` of them step at once,
                as when a laptop wakes.
            seconds: the size of the step.
        """
        seconds_of(abs(seconds))
        labels = self._with_a_clock() if process == ALL else [self._clock_of(process)]
        rules = [StandingFault(FaultKind.CLOCK_STEPPED, label, seconds) for label in labels]
        with self._standing(*rules) as met:
            yield Reach(met, f"{', '.join(labels)} wrote nothing")

    def _with_a_clock(self) -> list[str]:
        """Return the labels of all processes that write by their clock."""
        return [label_of(process) for process in self._processes() if process["name"] in WITH_STEPS]

    def _clock_of(self, name: str) -> str:
        process = self._process(name)
        one_of(process["name"], WITH_STEPS, "service with a database")
        return label_of(process)
