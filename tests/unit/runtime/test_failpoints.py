"""Failpoints: what each action does, that it is used up before it acts, and that hits are counted.

Arming comes from outside, through the home; crossing happens inside a service process.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.faults import points
from labkit.home import Home
from labkit.runtime.injection.boundaries import BOUNDARIES, KINDS, Failpoint
from labkit.runtime.injection.failpoints import Armed, Failpoints, FailpointStore, Refused, hits_of

POINT = "goods.deduct_stock.before_commit"
AFTER = "goods.deduct_stock.after_commit"
CATALOGUE = [Failpoint(*name.split(".")) for name in (POINT, AFTER)]

_CROSS = """
import sys
from pathlib import Path
from labkit.runtime.injection.boundaries import Failpoint
from labkit.runtime.injection.failpoints import Failpoints
folder, *names = sys.argv[1:]
catalogue = [Failpoint(*name.split(".")) for name in names]
Failpoints(Path(folder), "goods-1", catalogue).cross(names[0])
print("alive")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of faults of a home."""
    return Home(tmp_path / "home").make().faults


@pytest.fixture
def failpoints(folder: Path) -> Failpoints:
    """The failpoints of goods-1."""
    return Failpoints(folder, "goods-1", CATALOGUE)


def cross_in_a_process(folder: Path) -> tuple[int, str]:
    """Exit status and output of a process that crosses the first failpoint."""
    command = [sys.executable, "-c", _CROSS, str(folder), POINT, AFTER]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_failpoint_that_is_not_armed_does_nothing(failpoints: Failpoints) -> None:
    """A crossing that nobody armed goes on, once."""
    assert failpoints.cross(POINT) is False


def test_a_home_without_armed_failpoints_is_passed(failpoints: Failpoints, folder: Path) -> None:
    """`passes` counts a crossing while nothing is armed, leaves it to the caller while anything is,
    and passes again after that."""
    failpoints.cross(POINT)
    assert failpoints.quiet
    assert failpoints.passes(POINT)
    FailpointStore(folder).arm(AFTER, "refuse")
    assert not failpoints.passes(POINT)
    with pytest.raises(Refused):
        failpoints.cross(AFTER)
    failpoints.cross(AFTER)
    assert failpoints.passes(AFTER)
    assert [hits_of(folder, "goods-1", len(CATALOGUE)).read(place) for place in (0, 1)] == [2, 3]


def test_refuse_raises_as_often_as_it_was_armed(failpoints: Failpoints, folder: Path) -> None:
    """A refusal names the failpoint, acts so many times, and then the failpoint is disarmed."""
    FailpointStore(folder).arm(POINT, "refuse", times=2)
    for _ in range(2):
        with pytest.raises(Refused, match=POINT):
            failpoints.cross(POINT)
    assert failpoints.cross(POINT) is False
    assert FailpointStore(folder).armed() == {}


def test_only_the_armed_failpoint_acts(failpoints: Failpoints, folder: Path) -> None:
    """Arming one failpoint leaves the others alone."""
    FailpointStore(folder).arm(POINT, "refuse")
    assert failpoints.cross(AFTER) is False
    assert FailpointStore(folder).armed() == {POINT: [{"action": "refuse", "times": 1, "after": 0}]}


def test_duplicate_says_to_do_it_twice(failpoints: Failpoints, folder: Path) -> None:
    """Armed with duplicate, one crossing says that what follows is to be done twice."""
    FailpointStore(folder).arm(AFTER, "duplicate")
    assert failpoints.cross(AFTER) is True
    assert failpoints.cross(AFTER) is False


def test_delay_holds_up_a_thread(failpoints: Failpoints, folder: Path) -> None:
    """A delayed crossing takes at least so long, and then goes on."""
    FailpointStore(folder).arm(POINT, "delay:0.2")
    began = time.monotonic()
    assert failpoints.cross(POINT) is False
    assert time.monotonic() - began >= 0.2


def test_delay_holds_up_nobody_else_of_a_loop(failpoints: Failpoints, folder: Path) -> None:
    """While one coroutine is held up, others of the same loop work."""
    FailpointStore(folder).arm(POINT, "delay:0.2")
    ended = []

    async def cross(name: str) -> None:
        await failpoints.cross_async(name)
        ended.append(name)

    async def main() -> None:
        await asyncio.gather(cross(POINT), cross(AFTER))

    asyncio.run(main())
    assert ended == [AFTER, POINT]


def test_coroutines_can_be_refused_and_doubled(failpoints: Failpoints, folder: Path) -> None:
    """The actions do the same for a coroutine as for a thread."""
    FailpointStore(folder).arm(POINT, "refuse")
    with pytest.raises(Refused, match=POINT):
        asyncio.run(failpoints.cross_async(POINT))
    FailpointStore(folder).arm(AFTER, "duplicate")
    assert asyncio.run(failpoints.cross_async(AFTER)) is True


def test_crash_kills_once_and_is_counted(folder: Path) -> None:
    """The count is taken down on disk before the crash, so that the next process lives; both
    crossings are counted, the one that killed included."""
    FailpointStore(folder).arm(POINT, "crash")

    assert cross_in_a_process(folder) == (-9, "")
    assert FailpointStore(folder).armed() == {}
    assert hits_of(folder, "goods-1", 2).read(0) == 1

    assert cross_in_a_process(folder) == (0, "alive\n")
    assert hits_of(folder, "goods-1", 2).read(0) == 2


def test_crash_of_each_of_so_many(folder: Path) -> None:
    """Armed twice, two processes die and the third lives."""
    FailpointStore(folder).arm(POINT, "crash", times=2)
    assert [cross_in_a_process(folder)[0] for _ in range(3)] == [-9, -9, 0]


def test_the_crossings_that_go_by_are_counted_on_disk(folder: Path) -> None:
    """Armed after two crossings, the third process dies: the count outlives who crossed before."""
    FailpointStore(folder).arm(POINT, "crash", after=2)
    assert [cross_in_a_process(folder)[0] for _ in range(4)] == [0, 0, -9, 0]


def test_a_failpoint_does_one_thing_after_another(failpoints: Failpoints, folder: Path) -> None:
    """Armed with two actions, each acts at its own crossing, counted from the arming."""
    store = FailpointStore(folder)
    later, first = (
        Armed(action="delay:0.01", times=1, after=2),
        Armed(action="duplicate", times=1, after=0),
    )
    store.arm_all({AFTER: [later, first]})
    assert store.armed() == {AFTER: [first, later]}
    verbs = [failpoints.act(AFTER).verb for _ in range(4)]
    assert verbs == ["duplicate", "", "delay", ""]
    assert store.armed() == {}


def test_crossings_of_all_instances_go_by_together(folder: Path) -> None:
    """Of two instances that cross in turn, the one dies that is the third to cross."""
    instances = [Failpoints(folder, f"goods-{number}", CATALOGUE) for number in (1, 2)]
    FailpointStore(folder).arm(POINT, "refuse", after=2)
    for failpoints in instances:
        failpoints.cross(POINT)
    with pytest.raises(Refused):
        instances[0].cross(POINT)


def test_one_armed_crossing_acts_in_one_process(folder: Path) -> None:
    """Of two instances of a service that both cross, exactly one is refused."""
    instances = [Failpoints(folder, f"goods-{number}", CATALOGUE) for number in (1, 2)]
    FailpointStore(folder).arm(POINT, "refuse")
    refused = 0
    for failpoints in instances:
        try:
            failpoints.cross(POINT)
        except Refused:
            refused += 1
    assert refused == 1


def test_an_unknown_boundary_is_a_defect(failpoints: Failpoints) -> None:
    """The runtime cannot cross what is not in the catalogue: the catalogue is complete."""
    with pytest.raises(KeyError):
        failpoints.cross("goods.deduct_stock.no_such_boundary")
    with pytest.raises(KeyError):
        asyncio.run(failpoints.cross_async("goods.no_such_step.before_commit"))


def test_what_is_armed_outside_is_seen_inside(failpoints: Failpoints, folder: Path) -> None:
    """A running process sees what is armed and disarmed from outside, at its next crossing."""
    store = FailpointStore(folder)
    assert failpoints.cross(POINT) is False
    store.arm(POINT, "refuse", times=9)
    with pytest.raises(Refused):
        failpoints.cross(POINT)
    store.clear(POINT)
    assert failpoints.cross(POINT) is False
    store.arm(POINT, "refuse")
    store.clear()
    assert failpoints.cross(POINT) is False


def test_every_boundary_can_be_crossed_and_does_something() -> None:
    """Each boundary belongs to one kind of crossing and has actions, a crash and a delay too."""
    assert sorted(boundary for pair in KINDS.values() for boundary in pair) == sorted(BOUNDARIES)
    everywhere = {"crash", "refuse", "delay", "duplicate"}
    own = {
        "before_commit": {"stall"},
        "before_send": {"lose"},
        "before_notify": {"reorder", "alter", "wrong_amount", "forge"},
        "before_answer": {"early"},
    }
    for boundary, actions in BOUNDARIES.items():
        assert {"crash", "delay"} <= set(actions) <= everywhere | own.get(boundary, set())


def test_an_action_of_one_boundary_is_handed_to_who_crosses(
    failpoints: Failpoints, folder: Path
) -> None:
    """An action for the crosser alone is named by the failpoint, once; others see nothing."""
    FailpointStore(folder).arm(POINT, "alter")
    assert asyncio.run(failpoints.act_async(POINT)) == ("alter", 0.0)
    assert asyncio.run(failpoints.act_async(POINT)) == ("", 0.0)
    FailpointStore(folder).arm(POINT, "reorder")
    assert failpoints.cross(POINT) is False


@pytest.mark.parametrize(
    ("name", "action", "times", "after", "why"),
    [
        ("goods.nothing.before_commit", "crash", 1, 0, "no such failpoint"),
        (POINT, "explode", 1, 0, "can crash, refuse, delay"),
        (POINT, "duplicate", 1, 0, "not 'duplicate'"),
        (AFTER, "refuse", 1, 0, "not 'refuse'"),
        (POINT, "delay", 1, 0, "delay:2.5"),
        (POINT, "delay:soon", 1, 0, "delay:2.5"),
        (POINT, "delay:-1", 1, 0, "delay:2.5"),
        (POINT, "delay:nan", 1, 0, "delay:2.5"),
        (POINT, "crash:1", 1, 0, "only a delay or a stall has seconds"),
        (POINT, "crash", 0, 0, "1 or more"),
        (POINT, "crash", -1, 0, "1 or more"),
        (POINT, "crash", 1, -1, "0 or more"),
    ],
)
def test_what_cannot_be_armed_is_refused(
    tmp_path: Path, name: str, action: str, times: int, after: int, why: str
) -> None:
    """A wrong name, action or count is refused with a word on what there is; nothing is armed."""
    home = Home(tmp_path).make()
    with pytest.raises(ValueError, match=why):
        points.arm(home, name, action, times, after)
    assert FailpointStore(home.faults).armed() == {}


def test_the_list_shows_what_is_armed_and_what_was_crossed(tmp_path: Path) -> None:
    """From outside, each failpoint shows its actions, its hits over all instances, and its arm."""
    home = Home(tmp_path).make()
    every = [point for point in points.catalogue().values() if point.service == "goods"]
    for number in (1, 2):
        Failpoints(home.faults, f"goods-{number}", every).cross(POINT)
    points.arm(home, AFTER, "duplicate", times=2)

    listed = {point["name"]: point for point in points.list_all(home)}

    assert listed.keys() == points.catalogue().keys()
    assert (listed[POINT]["hits"], listed[POINT]["armed"]) == (2, None)
    assert listed[AFTER]["armed"] == {"action": "duplicate", "times": 2, "after": 0}
    assert listed[AFTER]["actions"] == ["crash", "delay", "duplicate"]
    assert points.remaining(home, AFTER) == 2
    points.disarm(home)
    assert points.remaining(home, AFTER) == 0
