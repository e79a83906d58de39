"""Clocks that step."""

from collections.abc import Iterator

from labkit.faults.ruling import WITH_STEPS, Ruling, one_of, seconds_of
from labkit.faults.verb import Reach, verb
from labkit.runtime.rules import Rule


class Clocks(Ruling):
    """What can befall a clock."""

    @verb
    def clock_stepped(self, process: str, seconds: float) -> Iterator[Reach]:
        """The wall clock of one process is ahead by so many seconds, or behind where below 0.

        When the block ends it steps back to where it belongs. Ids and stored deadlines come from
        it, and business times where the lab clock is not stopped.

        Args:
            process: as `labkit status` names it; `goods` is `goods-1`.
            seconds: by how much.
        """
        found = self._process(process)
        one_of(found["name"], WITH_STEPS, "service with a database")
        label = f"{found['name']}-{found['instance']}"
        seconds_of(abs(seconds))
        with self._ruled(Rule("clock_stepped", label, seconds)) as met:
            yield Reach(met, f"{label} wrote nothing")
