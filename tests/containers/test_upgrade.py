"""A day of releases on MySQL, Kafka and ZooKeeper."""

from pathlib import Path

import pytest

from labkit.settings import Settings
from labkit.stack.containers.stack import ServerAddresses
from tests.containers.conftest import PATIENT
from tests.support.containers.stacks import environment
from tests.support.deploying import live_a_day
from tests.support.storyline import quick_lab


@pytest.mark.timeout(900)
def test_a_day_of_releases_under_load(
    stack: Settings, backends: ServerAddresses, tmp_path: Path
) -> None:
    """1.0 → 1.1 → 1.2 → 1.1 while customers buy, pay and return: nothing of it is lost or dead."""
    assert backends
    with quick_lab(tmp_path / "home", **environment(stack) | PATIENT) as lab:
        lab.reset(stock=100_000, balance=10**12, coupons=300)
        live_a_day(lab)
