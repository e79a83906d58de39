"""What is seen as stuck, by the databases alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import flight
from labkit.lab.data import Reader
from labkit.runtime.clock import wall_ms
from tests.console import Console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """Databases in which something can be stuck."""
    console = Console(tmp_path)
    yield console
    console.close()


def test_what_a_wrong_clock_put_off_is_stuck(console: Console) -> None:
    """An event that waits for an hour waits by a clock that was ahead; a minute is no matter."""
    now = wall_ms()
    for event_id, next_try in ((1, now + 60_000), (2, now + 3_600_000), (3, now - 60_000)):
        console.stick(event_id, "", last_error=None, next_try=next_try)
    reader = Reader(console.home)
    assert {one["id"] for one in flight.stuck_in(reader, "goods")} == {"goods.2", "goods.3"}
    reader.close()
