"""Stories that find what no crash shows: races, lies of a third party, a neighbour that fails.

They are told like the scenarios of the crash matrix, whose invariants are looked at after each, and
stand beside them: a crash in the middle would add nothing.
"""

from course.bugs.stories import faults, orders, payments, upgrades
from course.bugs.stories.story import STORIES

__all__ = ["STORIES", "faults", "orders", "payments", "upgrades"]
