"""Searching: many lives, drawn from seeds or one after the other, until one breaks something."""

import gc
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice

from labkit.runtime.wiring import HOUSEKEEPING
from labkit.sim.deviations import CUSTOMERS, Deviation, Planned
from labkit.sim.life import Life, Stage
from labkit.sim.plan import Plan, PointsByStory, draw_plan
from labkit.sim.points import points_of_world
from labkit.sim.shrinking import shrink
from labkit.sim.stories import STORIES

_WORKERS = 2


@dataclass
class Tally:
    """The sum of many lives.

    Attributes:
        lives: how many there were.
        decisions: how often it was decided what happens.
        deviations: how often something did.
        deaths: how many processes died.
        reached: the points at which something happened.
        broken: lives with breaches, each as small as it could be made.
    """

    lives: int = 0
    decisions: int = 0
    deviations: int = 0
    deaths: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    broken: list[Life] = field(default_factory=list)

    def add(self, life: Life) -> None:
        """Add a life."""
        self.lives += 1
        self.decisions += life.decisions
        self.deviations += len(life.plan.deviations)
        self.deaths += life.deaths
        self.reached.update(deviation.point for deviation in life.plan.deviations)

    def merge(self, other: "Tally") -> None:
        """Add the lives of another worker."""
        self.lives += other.lives
        self.decisions += other.decisions
        self.deviations += other.deviations
        self.deaths += other.deaths
        self.reached.update(other.reached)
        self.broken += other.broken


def replay(plan: Plan, *, record: bool = False) -> Life:
    """Live a plan.

    Args:
        plan: the plan.
        record: whether to write down who called whom.
    """
    with silence():
        return Stage().live(plan, Planned(plan.deviations), record=record)


def hunt(
    seconds: float,
    first_seed: int = 0,
    stories: Sequence[str] = tuple(STORIES),
    stop_at_first: bool = True,
    lives: int | None = None,
) -> Tally:
    """Live drawn lives on all cores.

    Args:
        seconds: how long.
        first_seed: of the first life; the next one has the next number.
        stories: names of the stories to draw from.
        stop_at_first: whether a worker ends when it has found a breach.
        lives: how many, at most.

    Returns:
        The sum of all lives.
    """
    plans = [
        (
            seconds,
            first_seed + number,
            stories,
            stop_at_first,
            None if lives is None else (lives + _WORKERS - 1 - number) // _WORKERS,
            _WORKERS,
        )
        for number in range(_WORKERS)
    ]
    return _on_all_cores(hunt_alone, plans)


def prove(plan: Plan, depth: int, wanted: Sequence[str] = ()) -> Tally:
    """Live every life that differs from a calm one in at most so many deviations.

    Args:
        plan: the stories.
        depth: how many deviations, at most.
        wanted: what may happen, as `crash`, `delay` or `delay:1.5`; anything if none is named.

    Returns:
        The sum of all lives, up to the first that breaks something.
    """
    calm = replay(plan.calm())
    tally = Tally()
    tally.add(calm)
    if calm.breaches:
        tally.broken.append(calm)
    elif depth:
        firsts = list(_next_deviations(calm, wanted))
        parts = [(plan, firsts[number::_WORKERS], depth, wanted) for number in range(_WORKERS)]
        tally.merge(_on_all_cores(_prove_part, parts))
    return tally


def _prove_part(
    plan: Plan, firsts: Sequence[Deviation], depth: int, actions: Sequence[str]
) -> Tally:
    """Live all lives that begin with some deviations."""
    stage, tally = Stage(), Tally()

    def follow(before: Plan, deviations: Iterable[Deviation], depth: int) -> None:
        for deviation in deviations:
            wanted = replace(before, deviations=(*before.deviations, deviation))
            life = stage.live(wanted, Planned(wanted.deviations))
            _note(tally, life, stage)
            if tally.broken:
                return
            if depth > 1:
                follow(wanted, _next_deviations(life, actions), depth - 1)

    follow(plan.calm(), firsts, depth)
    return tally


def _next_deviations(life: Life, wanted: Sequence[str]) -> Iterator[Deviation]:
    """Yield what else could have happened, after the last thing that did."""
    happened = {(deviation.point, deviation.crossing) for deviation in life.plan.deviations}
    places = [at for at, crossing in enumerate(life.order) if crossing in happened]
    for point, crossing in life.order[max(places, default=-1) + 1 :]:
        for action in life.offered[point]:
            if not wanted or action in wanted or action.partition(":")[0] in wanted:
                yield Deviation(point, crossing, action)


def hunt_alone(
    seconds: float,
    first_seed: int = 0,
    stories: Sequence[str] = tuple(STORIES),
    stop_at_first: bool = True,
    lives: int | None = None,
    step: int = 1,
) -> Tally:
    """Live drawn lives in this process, as `hunt` does, but only each `step`th."""
    stage, tally = Stage(), Tally()
    points = _points_by_story(stage, stories)
    deadline = time.monotonic() + seconds
    for seed in islice(count(first_seed, step), lives):
        if time.monotonic() > deadline or (stop_at_first and tally.broken):
            break
        _note(tally, stage.live(*draw_plan(seed, stories, points)), stage)
    return tally


def _points_by_story(stage: Stage, stories: Sequence[str]) -> PointsByStory:
    """Return what can happen in the calm life of each story; under no name, anywhere at all."""
    points = {name: stage.live(Plan((name,)), Planned()).offered for name in stories}
    own = {name: _without_housekeeping(offered) for name, offered in points.items()}
    return {**own, "": points_of_world()}


def _without_housekeeping(points: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """Leave out the runtime's own steps and the pauses of customers, of which there are many."""
    return {
        point: actions
        for point, actions in points.items()
        if not point.startswith(CUSTOMERS) and point.split(".")[1] not in HOUSEKEEPING
    }


def _note(tally: Tally, life: Life, stage: Stage) -> None:
    tally.add(life)
    if life.breaches:
        smallest = shrink(life, lambda plan: stage.live(plan, Planned(plan.deviations)))
        tally.broken.append(smallest)


def _on_all_cores(work: Callable[..., Tally], parts: Sequence[tuple[object, ...]]) -> Tally:
    """Do parts of a work in a process each, and add up what they give.

    Raises:
        BrokenProcessPool: one of the processes died.
    """
    context, total = multiprocessing.get_context("fork"), Tally()
    with ProcessPoolExecutor(len(parts), context, begin_worker) as pool:
        tallies = [pool.submit(work, *part) for part in parts]
        for tally in tallies:
            total.merge(tally.result())
    return total


def begin_worker() -> None:
    """Let this process live nothing but lives: it logs nothing, and collects garbage between."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    gc.freeze()


@contextmanager
def silence() -> Iterator[None]:
    """Keep what the shop logs of faults that were meant from being written, for a block."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
