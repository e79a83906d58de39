"""What of a life a real lab can be made to do: where, and why not."""

from dataclasses import replace

import pytest

from labkit.faults.points import catalogue
from labkit.sim import report
from labkit.sim.deviations import Deviation
from labkit.sim.failpoints import POWER_CUT
from labkit.sim.forcing import Forcing, Means, forcings, obstacles
from labkit.sim.plan import Plan, read_token
from labkit.sim.points import points_of_world
from labkit.sim.search import Tally, replay

CRASH = "order.deduct_stock.before_call#2=crash"


def force(stories: str, happens: str, instances: int = 1) -> list[Forcing]:
    """How what happens in a life is forced."""
    plan = read_token(f"sim1/{stories}/{instances}/0/{happens}")
    return forcings(plan, replay(plan).order)


@pytest.mark.parametrize(
    ("happens", "means", "target", "crossing", "action"),
    [
        (CRASH, Means.FAILPOINT, "order.deduct_stock.before_call", 2, "crash"),
        ("goods.deduct_stock.after_commit#1=power-cut", Means.POWER_CUT, "", 1, POWER_CUT),
        ("customer.place#2=delay:1.5", Means.PAUSE, "place", 2, "delay:1.5"),
        ("pay.start#2=clock:45", Means.CLOCK, "pay-2", 1, "clock:45"),
        ("order-web.start#1=clock:-2", Means.CLOCK, "order-web-1", 1, "clock:-2"),
    ],
)
def test_a_lab_has_its_own_means(
    happens: str, means: Means, target: str, crossing: int, action: str
) -> None:
    """Each deviation is forced at its own crossing, by a fault that a lab has."""
    [forcing] = force("accepted-paid,paid", happens, instances=2)
    assert forcing.means is means
    assert forcing.target == (target or happens.partition("#")[0])
    assert (forcing.crossing, forcing.action, forcing.obstacle) == (crossing, action, "")


@pytest.mark.parametrize(
    ("stories", "crossing", "target"),
    [("accepted-paid", 1, "order"), ("paid", 1, "pay"), ("paid,accepted-paid", 2, "pay")],
)
@pytest.mark.parametrize("fate", ["lose", "duplicate"])
def test_what_a_broker_does_its_sender_does(
    stories: str, crossing: int, target: str, fate: str
) -> None:
    """Of two services that send a topic, the one does it that sends that record in the life."""
    [forcing] = force(stories, f"broker.paid#{crossing}={fate}")
    assert (forcing.means, forcing.target) == (Means.FAILPOINT, f"{target}.paid.before_send")
    assert (forcing.crossing, forcing.action) == (1, fate)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        ("broker.paid#1=delay:1.5", "no broker keeps a record back"),
        ("broker.refunded#1=lose", "does not come there"),
        ("pay.start#2=clock:45", "starts with the lab"),
        ("pay-web.start#2=clock:45", "starts with the lab"),
        ("nobody.does.this#1=crash", "no such failpoint"),
        ("order.deduct_stock.before_call#1=reorder", "cannot do that"),
        (f"{CRASH};{CRASH.replace('crash', 'refuse')}", "something else happens"),
    ],
)
def test_what_cannot_be_forced_is_said(happens: str, why: str) -> None:
    """Whoever replays such a life hears that it will be another one, and why."""
    [obstacle] = obstacles(force("paid", happens))
    assert why in obstacle
    assert obstacle.startswith(happens.rpartition(";")[2])


@pytest.mark.parametrize(
    ("happens", "last"),
    [
        (CRASH, f"  on a real lab: labkit matrix --replay 'sim1/repeated/1/0/{CRASH}'"),
        ("broker.paid#1=delay:5", "no broker keeps a record back that it acknowledged"),
    ],
)
def test_a_life_that_broke_something_says_how_it_is_replayed(happens: str, last: str) -> None:
    """The report of a search and of a replay ends with the command, or with why there is none."""
    plan = read_token(f"sim1/repeated/1/0/{happens}")
    broken = replace(replay(plan), plan=plan, breaches=("stock is conserved: no",))
    searched = report.searched(Tally(broken=[broken]), 0)
    for lines in (report.replayed(plan, broken).lines, searched.lines):
        assert lines[-1].endswith(last)
    whole = replace(broken, breaches=())
    assert report.replayed(whole.plan, whole).lines[-1] == "every invariant holds"


def test_a_step_that_is_run_later_crosses_once() -> None:
    """As on a lab, where what was delayed goes on without it, and the next to cross is counted."""
    save = "order.save_pre_order.before_commit"
    happens = f"{save}#1=delay:0.8;customer.place#2=delay:1.5"
    life = replay(read_token(f"sim1/accepted,accepted/1/0/{happens}"))
    assert [crossing for point, crossing in life.order if point == save] == [1, 2]


def test_everything_that_the_twin_does_at_a_failpoint_a_lab_can_do() -> None:
    """No action is drawn there that a lab's failpoint would refuse."""
    for point, actions in points_of_world().items():
        if point in catalogue():
            for action in actions:
                plan = Plan(("paid",), deviations=(Deviation(point, 1, action),))
                assert list(obstacles(forcings(plan, ()))) == []
