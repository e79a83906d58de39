"""Fixtures of all unit tests: databases in memory, made anew for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.store import OpenStore, Store

# Each example makes databases of its own, so the fixture that makes them may be shared by all;
# and how long an example takes says nothing on a busy machine.
settings.register_profile(
    "unit",
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("unit")


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """Makes the seeded database of a service, in memory, as often as it is asked."""
    opened: list[Store] = []

    def open_one(service: str) -> Store:
        folder = tmp_path / f"store-{len(opened)}"
        folder.mkdir()
        opened.append(Store(service, folder))
        return opened[-1]

    yield open_one
    for store in opened:
        store.engine.dispose()
