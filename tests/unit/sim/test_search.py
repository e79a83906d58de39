"""The search finds what is wrong, makes it small, and can prove that nothing else is."""

import math

import pytest

from course.bugs.bug import shelf
from course.bugs.twin import search
from course.bugs.unseen import SELDOM, UNSEEN
from labkit.sim.deviations import Deviation, Planned
from labkit.sim.life import Stage
from labkit.sim.plan import Plan, read_token
from labkit.sim.search import prove, replay
from labkit.sim.shrinking import shrink
from tests.support.apart import apart

#: Bugs of three kinds: kept money, a compensation without a claim, a key looked at too late.
BUGS = ("late-payment-is-kept", "compensation-without-claim", "key-looked-at-later")


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found_without_being_told_where(bug: str) -> None:
    """Lives are drawn until one breaks; it is told in ten events at most, and its token breaks it
    again where the bug is, and holds where it is not."""
    done = apart(search, bug, math.inf, 3000)
    assert done.error == ""
    assert done.life, f"{done.lives} lives did not find it"
    assert done.life.plan.size <= 10
    assert done.life.breaches
    assert replay(read_token(done.life.plan.token)).breaches == ()


def test_the_bugs_that_the_twin_cannot_see_are_bugs() -> None:
    """None is named that is on the shelf no more, and none twice."""
    assert UNSEEN.keys() < shelf().keys()
    assert SELDOM.keys() <= shelf().keys() - UNSEEN.keys()


@pytest.mark.parametrize("bug", SELDOM)
def test_a_life_that_is_kept_breaks_where_its_bug_is(bug: str) -> None:
    """And holds without it."""
    done = apart(search, bug, 0.0, 0)
    assert done.is_kept
    assert done.life.breaches
    assert replay(read_token(SELDOM[bug])).breaches == ()


def test_every_life_with_one_deviation_holds() -> None:
    """Proven for the shortest story: whatever single thing fails, is late or comes twice."""
    tally = prove(Plan(("accepted-paid",)), 1)
    assert tally.broken == []
    assert tally.lives == tally.deviations + 1
    assert tally.lives > 80


def test_shrinking_leaves_out_what_is_not_needed() -> None:
    """Of three things and two customers, the one remains that matters."""
    stage = Stage()
    needed = Deviation("order.deduct_stock.before_call", 1, "crash")
    plan = Plan(
        ("paid", "accepted-paid"),
        2,
        9,
        (Deviation("broker.paid", 1, "duplicate"), needed),
    )

    def live(wanted: Plan) -> object:
        life = stage.live(wanted, Planned(wanted.deviations))
        died = needed in life.plan.deviations
        return type(life)(**{**vars(life), "breaches": ("it died: there",) if died else ()})

    smallest = shrink(live(plan), live)  # type: ignore[arg-type]  # lives, all of them
    assert smallest.plan.deviations == (needed,)
    assert (len(smallest.plan.stories), smallest.plan.instances, smallest.plan.seed) == (1, 1, 0)
