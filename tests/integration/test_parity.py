"""The twin does not lie: a scenario of the matrix with a crash ends there as on a real lab."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.support.parity.comparing import compare, crashes_of
from tests.support.parity.lab_play import LabStage, lab_stage
from tests.support.parity.scope import PLAYED
from tests.support.parity.twin_play import TwinStage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: The same crashes each time: a change makes it fail, and not the day. `make parity` draws others.
SEED = os.environ.get("PARITY_SEED", "0")


@pytest.fixture(scope="module")
def twin() -> TwinStage:
    return TwinStage()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStage]:
    with lab_stage(tmp_path_factory.mktemp("parity") / "home") as lab:
        yield lab


@pytest.mark.parametrize("scenario", PLAYED)
def test_a_scenario_ends_as_in_the_twin(lab: LabStage, twin: TwinStage, scenario: str) -> None:
    """Every row of every table is one that the twin has too, in some circumstances."""
    crash = random.Random(f"{SEED} {scenario}").choice(crashes_of(twin, scenario))
    print(f"seed {SEED}: {scenario} with a crash at {crash}")
    comparison = compare(lab, twin, scenario, crash)
    assert not comparison.difference, f"seed {SEED}: {comparison}"
