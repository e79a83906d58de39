"""The twin does not lie: what a story comes to there, it comes to on a real lab."""

import random
from collections.abc import Iterator

import pytest

from labkit.faults import points
from labkit.lab import Lab
from labkit.runtime.wiring import HOUSEKEEPING
from labkit.sim.deviations import Deviation, Planned
from labkit.sim.first_rows import PRICE, SEEDS
from labkit.sim.life import Stage
from labkit.sim.plan import Plan
from labkit.waiting import wait_until
from tests.support.db import Tables
from tests.support.endings import Ending, difference, ending_of_lab, ending_of_stage
from tests.support.storyline import quick_lab
from tests.support.twin import tell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Stories in which one thing happens after the other: of others there are several ends.
STORIES = ("accepted", "paid", "accepted-paid", "cancelled", "returned", "given-up")
#: How long a process that died may be away: on a busy machine longer than a call waits.
RESTARTS_S = (0.02, 0.2, 0.6, 1.5)
#: A call outlasts the restart of a process on a busy machine, as it does in the twin.
PATIENT = {
    "LABKIT_CALL_TIMEOUT": "8",
    "LABKIT_FLOW_TIMEOUT": "20",
    "LABKIT_UNCONFIRMED_DEADLINE": "30",
}
SEED = random.randrange(1_000_000)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **PATIENT) as lab:
        yield lab


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


def crash_in(stage: Stage, story: str) -> str:
    """Draw a failpoint that the story crosses by itself."""
    calm = stage.live(Plan((story,)), Planned())
    crossed = {point for point, _ in calm.order} & points.catalogue().keys()
    own = [
        point
        for point in crossed
        if not point.startswith("platform.") and point.split(".")[1] not in HOUSEKEEPING
    ]
    return random.Random(f"{SEED} {story}").choice(sorted(own))


def ends_of_twin(stage: Stage, story: str, crash: str) -> list[Ending]:
    """Live the story with that crash, and a restart that takes long or short."""
    plan = Plan((story,), deviations=(Deviation(crash, 1, "crash"),))
    ends = []
    for restart_s in RESTARTS_S:
        life = stage.live(
            plan,
            Planned(plan.deviations),
            restart_s=restart_s,
            at_end=lambda: ends.append(ending_of_stage(stage)),
        )
        assert life.breaches == ()
    return ends


def end_of_lab(lab: Lab, story: str, crash: str) -> Ending:
    """Tell the story on the lab, with that crash."""
    lab.reset(**SEEDS.model_dump())
    tables = Tables({name: lab.home.database_url(name) for name in ("goods", "order")})
    tables.write("goods", "UPDATE trade_goods SET goods_price = :price", price=PRICE)
    points.arm(lab.home, crash, "crash")
    tell(lab, story)
    lab.settle(60)
    lab.clock.advance(minutes=20)  # what is not paid by then is cancelled
    unpaid = "SELECT 1 FROM trade_order WHERE order_status = 1 AND pay_status = 0"
    wait_until(lambda: not tables.rows("order", unpaid), "no order waits to be paid", 60)
    wait_until(lambda: not points.remaining(lab.home, crash), f"{crash} is reached on the lab", 60)
    lab.settle(60)
    return ending_of_lab(lab)


@pytest.mark.parametrize("story", STORIES)
def test_a_crash_ends_as_it_does_in_the_twin(lab: Lab, stage: Stage, story: str) -> None:
    """Every row of every table is one that the twin has too, in some restart's time."""
    crash = crash_in(stage, story)
    print(f"seed {SEED}: {story} with a crash at {crash}")
    real, ends = end_of_lab(lab, story, crash), ends_of_twin(stage, story, crash)
    assert real in ends, difference(real, ends[1])
