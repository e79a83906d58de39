"""The matrix's own scripts run on the twin, unchanged, and come to what they expect there too."""

import pytest

from labkit.matrix import SCENARIOS
from tests.support.endings import difference
from tests.support.parity.scope import NOT_THE_TWINS, PLAYED
from tests.support.parity.twin_play import Circumstances, TwinStage


@pytest.fixture(scope="module")
def twin() -> TwinStage:
    return TwinStage()


def test_every_scenario_is_played_or_has_a_reason() -> None:
    """None is forgotten: a new one is played, and whoever cannot play it says why."""
    assert NOT_THE_TWINS.keys() < SCENARIOS.keys()
    assert {*PLAYED} == SCENARIOS.keys() - NOT_THE_TWINS.keys()
    assert all(NOT_THE_TWINS.values())


@pytest.mark.parametrize("scenario", PLAYED)
def test_a_scenario_ends_as_it_expects(twin: TwinStage, scenario: str) -> None:
    """Without a crash its own faults act, its orders end as it says, and every invariant holds."""
    assert twin.play(scenario).problems == ()


@pytest.mark.parametrize("scenario", ["abandoned", "overtaken"])
def test_threads_take_turns(twin: TwinStage, scenario: str) -> None:
    """A script that does two things at once is the same life each time."""
    lives = [twin.play(scenario, by=Circumstances(seed=7, late=0.1)) for _ in range(5)]
    assert {life.crossed for life in lives} == {lives[0].crossed}


def test_ids_and_times_do_not_count_and_all_else_does(twin: TwinStage) -> None:
    """Two lives at other times end alike; a payment that was made makes a difference."""
    first, later = (twin.play("paid", by=Circumstances(seed)) for seed in (1, 2))
    assert first.ending == later.ending
    assert "TRADE_SUCCESS" in difference(first.ending, twin.play("cancelled-open").ending)
