"""Lives: a plan gives the same life each time, and a calm one breaks nothing."""

import json
import os
import subprocess
import sys

import pytest

from labkit.ops.trace.diagram import Line
from labkit.sim.deviations import Deviation, Planned
from labkit.sim.life import Life, Stage
from labkit.sim.plan import BadToken, Plan, draw_plan, read_token
from labkit.sim.points import points_of_world
from labkit.sim.search import hunt, replay
from labkit.sim.stories import STORIES

CRASHES = (
    Deviation("order.deduct_stock.before_call", 1, "duplicate"),
    Deviation("goods.turn-2", 30, "pause:1.5"),
    Deviation("pay.take_payment.after_commit", 1, "crash"),
    Deviation("broker.paid", 1, "lose"),
)
BUSY = Plan(("paid", "paid-and-cancelled", "returned"), 2, 7, CRASHES)
_HUNT_S = 60.0
TOKEN = "sim1/paid,cancelled/2/7/order.deduct_stock.before_call#1=delay:1.5;broker.paid#2=lose"
REPLAY = """import json, sys
from labkit.sim.plan import read_token
from labkit.sim.search import replay
life = replay(read_token(sys.argv[1]), record=True)
print(json.dumps([life.digest, life.order, [str(line) for line in life.record.lines]]))
"""


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("story", STORIES)
def test_a_calm_life_breaks_nothing(stage: Stage, story: str) -> None:
    """Each story ends, all settles, and every invariant holds."""
    life = stage.live(Plan((story,)), Planned())
    assert life.breaches == ()
    assert life.decisions
    assert not life.plan.deviations


def test_the_same_plan_is_the_same_life(stage: Stage) -> None:
    """Thirty times of thirty, to the byte of the tables and the last line of the record."""
    lives = [stage.live(BUSY, Planned(CRASHES), record=True) for _ in range(30)]
    assert {life.digest for life in lives} == {lives[0].digest}
    assert all(life.order == lives[0].order for life in lives)
    assert all(life.record.lines == lives[0].record.lines for life in lives)
    assert lives[0].plan.deviations == CRASHES  # all of it happened


def test_another_process_lives_the_same_life() -> None:
    """A token means the same on another day: no address and no hash of Python decides anything."""
    lives = [
        subprocess.run(
            [sys.executable, "-c", REPLAY, BUSY.token],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert lives[0] == lives[1]
    digest, _order, lines = json.loads(lives[0])
    assert digest == replay(BUSY, record=True).digest
    assert lines


def test_a_paused_process_stands_still(stage: Stage) -> None:
    """It neither works nor answers meanwhile, and its group goes on without it."""
    pause = Deviation("goods.turn-1", 40, "pause:5")
    plan = Plan(("accepted",), deviations=(pause,))
    life = stage.live(plan, Planned(plan.deviations), record=True)
    assert life.breaches == ()
    assert life.plan.deviations == (pause,)
    at = [str(line) for line in life.record.lines].index(str(_line_of(life, pause)))
    assert life.seconds > 5
    assert not [line for line in life.record.lines[at + 1 : at + 4] if line.start == "goods"]


def _line_of(life: Life, deviation: Deviation) -> Line:
    return next(line for line in life.record.lines if deviation.point in line.text)


def test_a_record_tells_what_a_life_changed(stage: Stage) -> None:
    """Rows that came, and the columns that are others in those that were there."""
    life = stage.live(Plan(("paid",)), Planned(), record=True)
    tables = [line.partition(" ")[0] for line in life.changes]
    assert {"order.trade_order", "pay.trade_pay", "platform.platform_trade"} < set(tables)
    assert "goods.trade_goods 1: goods_number 6 → 5" in life.changes
    log = next(line for line in life.changes if line.startswith("user.trade_user_money_log + "))
    assert "use_money 123" in log
    assert stage.live(Plan(("paid",)), Planned()).changes == ()


def test_drawn_lives_hold() -> None:
    """Whatever is drawn in a minute happens, much of it, and breaks nothing.

    The first seed is fixed: what makes this fail is the change that is tested.
    """
    tally = hunt(_HUNT_S)
    print(f"{tally.lives} lives, from seed 0")
    assert [(life.plan.token, life.breaches) for life in tally.broken] == []
    assert tally.deviations > tally.lives
    assert tally.deaths > tally.lives / 4
    assert len(tally.reached) > 50


def test_a_token_is_read_as_it_is_written() -> None:
    """Its life can be copied from one machine to another."""
    plan = read_token(TOKEN)
    assert plan.stories == ("paid", "cancelled")
    assert (plan.instances, plan.seed) == (2, 7)
    assert plan.deviations[1] == Deviation("broker.paid", 2, "lose")
    assert plan.token == TOKEN
    drawn, _chooser = draw_plan(3, ("paid",), {"paid": points_of_world(), "": points_of_world()})
    assert read_token(drawn.token) == drawn


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("", "begins with sim1/"),
        ("sim9/paid/1/0/", "begins with sim1/"),
        ("sim1/nobody/1/0/", "there is no story 'nobody'"),
        ("sim1/paid/0/0/", "a number of instances"),
        ("sim1/paid/1/x/", "a seed"),
        ("sim1/paid/1/0/order=crash", "POINT#CROSSING=ACTION"),
    ],
)
def test_a_bad_token_is_refused(token: str, problem: str) -> None:
    """Whoever mistypes one is told what is wrong."""
    with pytest.raises(BadToken, match=problem):
        read_token(token)
