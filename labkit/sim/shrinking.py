"""Shrinking: the fewest events that still break what a life has broken.

As delta debugging does (Zeller and Hildebrandt, 2002): whatever can be left out is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from labkit.sim.deviations import Deviation
from labkit.sim.life import Life
from labkit.sim.plan import Plan

#: Lives a plan for another time.
Live = Callable[[Plan], Life]


def shrink(life: Life, live: Live) -> Life:
    """Return the smallest life that was found which breaks the same invariant.

    Args:
        life: one with a breach.
        live: lives a plan.
    """
    smallest, goal = life, _broken(life)
    while True:
        for plan in _smaller(smallest.plan):
            again = live(plan)
            if goal & _broken(again):
                smallest = again
                break
        else:
            return smallest


def _broken(life: Life) -> set[str]:
    """Return the names of what a life has broken."""
    return {breach.partition(":")[0] for breach in life.breaches}


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans with one thing less: a customer, an instance, a deviation, or a lighter one."""
    if len(plan.stories) > 1:
        for at in range(len(plan.stories)):
            yield replace(plan, stories=plan.stories[:at] + plan.stories[at + 1 :])
    if plan.instances > 1:
        yield replace(plan, instances=plan.instances - 1)
    for at in range(len(plan.deviations)):
        yield replace(plan, deviations=plan.deviations[:at] + plan.deviations[at + 1 :])
    for at, deviation in enumerate(plan.deviations):
        if lighter := _lighter(deviation):
            yield replace(
                plan, deviations=(*plan.deviations[:at], lighter, *plan.deviations[at + 1 :])
            )
    if plan.seed:
        yield replace(plan, seed=0)


def _lighter(deviation: Deviation) -> Deviation | None:
    """Return an earlier crossing of the same point, if there is one."""
    if deviation.crossing == 1:
        return None
    return deviation._replace(crossing=1)
