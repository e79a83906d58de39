"""How long to wait before the next try: one schedule for everything that is tried again.

Jitter keeps what failed together from being tried together (Brooker, "Exponential Backoff and
Jitter", 2015).
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import takewhile

from sqlalchemy import ColumnElement, case

#: So many, or as the database reckons them.
Milliseconds = int | ColumnElement[int]

_MAX_DOUBLINGS = 40  # far beyond the longest delay that a setting allows


@dataclass(frozen=True)
class Backoff:
    """A schedule of growing delays.

    Attributes:
        delays: seconds (or units, see `in_sql`) before the second try, the third and so on; the
            last one holds for all tries that follow.
        jitter: the share of a delay that is random: with 0.5 it is a half to the whole of it.
        exact: the number of delays at the beginning that have no jitter.
        ends: whether nothing is tried any more after the last delay.
    """

    delays: tuple[float, ...]
    jitter: float = 0.0
    exact: int = 0
    ends: bool = False

    @staticmethod
    @cache
    def doubling(first: float, longest: float, jitter: float) -> "Backoff":
        """Return a schedule that doubles from a first delay up to the longest one."""
        doubled = (first * 2**number for number in range(_MAX_DOUBLINGS))
        growing = takewhile(lambda delay: delay < longest, doubled)
        return Backoff((*growing, longest), jitter)

    @property
    def longest(self) -> float:
        """Return the longest delay."""
        return max(self.delays)

    def is_over(self, tries: int) -> bool:
        """Return True if nothing is tried any more after so many delays."""
        return self.ends and tries >= len(self.delays)

    def delay(self, tries: int) -> timedelta:
        """Return the delay that follows `tries` earlier ones."""
        position = min(tries, len(self.delays) - 1)
        share = 1.0 if position < self.exact else self.draw()
        return timedelta(seconds=self.delays[position] * share)

    def delay_ms(self, tries: int) -> int:
        """Return the delay that follows `tries` earlier ones, in milliseconds."""
        return self.delay(tries) // timedelta(milliseconds=1)

    def draw(self) -> float:
        """Draw the share of a delay that is waited for."""
        return random.uniform(1 - self.jitter, 1)

    def in_sql(
        self, tries: ColumnElement[int], unit_ms: Milliseconds, drawn_ms: Milliseconds
    ) -> ColumnElement[int]:
        """Return the delay that follows the tries of a row, in milliseconds.

        Args:
            tries: the column that counts them.
            unit_ms: the length of a unit: the delays count units here.
            drawn_ms: the same times `draw()`, for the delays with jitter.
        """
        drawn = len(self.delays) - self.exact
        units = [unit_ms] * self.exact + [drawn_ms] * drawn
        *delays, longest = (unit * int(n) for unit, n in zip(units, self.delays, strict=True))
        whens = ((tries == count, delay) for count, delay in enumerate(delays))
        return case(*whens, else_=longest)
