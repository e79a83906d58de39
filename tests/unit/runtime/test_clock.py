"""The lab clock: one business time for all processes, that stops, advances and never goes back."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime.clock import LabClock, as_time, wall_ms
from labkit.waiting import wait_until
from tests.support.store import NOON

HOUR = timedelta(hours=1)


@pytest.fixture
def clock(tmp_path: Path) -> LabClock:
    """The clock of a home."""
    return LabClock(tmp_path / "clock.json")


def test_it_runs_with_the_wall_clock(clock: LabClock) -> None:
    """Nobody having touched it, business time is wall time."""
    before, now, after = as_time(wall_ms()), clock.now(), as_time(wall_ms())
    assert before <= now <= after


def test_it_stops_where_it_is_or_at_a_time(clock: LabClock) -> None:
    """A stopped clock gives the same time for ever."""
    clock.stop()
    now = clock.now()
    wait_until(lambda: as_time(wall_ms()) > now, "time passes")
    assert clock.now() == now
    clock.stop(at=NOON)
    assert clock.now() == NOON


def test_a_stopped_clock_moves_only_by_advance(clock: LabClock) -> None:
    """Advancing a stopped clock moves it by exactly so much, again and again."""
    clock.stop(at=NOON)
    clock.advance(HOUR)
    clock.advance(HOUR)
    assert clock.now() == NOON + 2 * HOUR


def test_a_running_clock_runs_on_after_an_advance(clock: LabClock) -> None:
    """Advanced while running, business time stays ahead of wall time by as much, and runs."""
    clock.advance(HOUR)
    clock.advance(HOUR)
    before, now, after = as_time(wall_ms()), clock.now(), as_time(wall_ms())
    assert before + 2 * HOUR <= now <= after + 2 * HOUR
    wait_until(lambda: clock.now() > now, "the clock goes on")


def test_stopping_keeps_what_was_advanced(clock: LabClock) -> None:
    """A clock that was advanced and is then stopped does not fall back."""
    clock.advance(HOUR)
    ahead = clock.now()
    clock.stop()
    assert clock.now() >= ahead


@pytest.mark.parametrize("stopped", [True, False])
def test_backwards_is_refused(clock: LabClock, stopped: bool) -> None:
    """Business time never goes back, stopped or running, and the refusal changes nothing."""
    if stopped:
        clock.stop()
    before = clock.now()
    with pytest.raises(ValueError, match="forward only"):
        clock.advance(-timedelta(microseconds=1))
    assert clock.now() >= before


@pytest.mark.parametrize("stopped", [True, False])
def test_past_the_calendar_is_refused(clock: LabClock, stopped: bool) -> None:
    """A time that no deadline could be added to is refused, and changes nothing."""
    if stopped:
        clock.stop()
    before = clock.now()
    for far in (timedelta.max, timedelta(days=365_000) * 7):
        with pytest.raises(ValueError, match="is too far"):
            clock.advance(far)
    assert clock.now() - before < HOUR


def test_other_instances_and_processes_see_it(clock: LabClock, tmp_path: Path) -> None:
    """All who read the same home read the same time, at once, in this process and in others."""
    path = tmp_path / "clock.json"
    other = LabClock(path)
    other.now()
    clock.stop(at=NOON)
    assert other.now() == NOON
    other.advance(HOUR)
    assert clock.now() == NOON + HOUR

    code = "import sys, pathlib; from labkit.runtime.clock import LabClock; "
    code += "print(LabClock(pathlib.Path(sys.argv[1])).now())"
    printed = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert printed.stdout.strip() == str(NOON + HOUR), printed.stderr


def test_reset_lets_it_run_with_the_wall_clock_again(clock: LabClock, tmp_path: Path) -> None:
    """After a reset nothing is left of a stop or an advance, for others too."""
    other = LabClock(tmp_path / "clock.json")
    clock.stop(at=NOON)
    assert other.now() == NOON
    clock.reset()
    before = as_time(wall_ms())
    assert clock.now() >= before
    assert other.now() >= before
    clock.reset()


@given(
    moves=st.lists(
        st.sampled_from(["stop", "look"]) | st.timedeltas(timedelta(), HOUR), max_size=12
    )
)
def test_business_time_never_goes_back(
    tmp_path_factory: pytest.TempPathFactory, moves: list[str | timedelta]
) -> None:
    """Under any stops and advances, business time only grows."""
    clock = LabClock(tmp_path_factory.mktemp("clock") / "clock.json")
    last = clock.now()
    for move in moves:
        if move == "stop":
            clock.stop()
        elif isinstance(move, timedelta):
            clock.advance(move)
        now = clock.now()
        assert now >= last
        last = now


def test_a_reader_sees_every_move_however_quick(tmp_path: Path) -> None:
    """Files that are as old as one another are not taken for one another.

    Whoever compares inode and age misses a move on a file system that gives an inode again at
    once (ext4), and whose clock has not ticked meanwhile.
    """
    path = tmp_path / "clock.json"
    tool, process = LabClock(path), LabClock(path)
    tool.stop(at=NOON)
    for _ in range(300):
        for _move in range(2):
            tool.advance(HOUR)
            os.utime(path, ns=(0, 0))
            tool.now()
        assert process.now() == tool.now()


def test_a_clock_leaves_no_file_open(tmp_path: Path) -> None:
    """Each tool makes clocks of its own; none leaves a descriptor behind when it goes."""
    LabClock(tmp_path / "clock.json").stop(at=NOON)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        assert LabClock(tmp_path / "clock.json").now() == NOON
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_who_moves_it_at_once_moves_it_by_both(tmp_path: Path) -> None:
    """Two tools that advance the same clock lose no move of each other."""
    path = tmp_path / "clock.json"
    LabClock(path).stop(NOON)

    def advance(_worker: int) -> None:
        clock = LabClock(path)
        for _ in range(50):
            clock.advance(timedelta(seconds=1))

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(advance, range(4)))
    assert LabClock(path).now() == NOON + timedelta(seconds=200)
