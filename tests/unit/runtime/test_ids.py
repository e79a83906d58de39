"""Ids never repeat: not when a millisecond is full, a clock steps back, or a process is killed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.runtime.clock import wall_ms
from labkit.runtime.registry import files
from labkit.runtime.registry.files import FolderRegistry, ReservedFile
from labkit.runtime.registry.ids import (
    EPOCH_MS,
    SEQUENCE_BITS,
    WORKERS,
    ClockSteppedBack,
    IdMaker,
    NoIds,
    NothingReserved,
    first_of,
    made_at_ms,
)
from labkit.runtime.registry.leases import ReservingLease
from labkit.waiting import wait_until

T = EPOCH_MS + 1_000_000
RESERVE_MS = 5_000


class Clock:
    """A wall clock that moves on by itself only when it is looked at, and else as it is told."""

    def __init__(self, *, ticks: int) -> None:
        self.now, self.ticks = T, ticks

    def __call__(self) -> int:
        self.now += self.ticks
        return self.now


class Lease:
    """A worker's lease that remembers what it reserved, and can be out of order."""

    def __init__(self, worker: int = 0) -> None:
        self.worker, self.reserved, self.full = worker, 0, False

    def reserve(self, until_ms: int) -> int:
        if self.full:
            raise OSError("no space left on device")
        self.reserved = until_ms + 5000
        return self.reserved


def test_an_id_says_when_and_by_whom_it_was_made() -> None:
    """Time, worker and sequence can be read back, and ids of a later time are larger."""
    clock = Clock(ticks=0)
    number = IdMaker(Lease(worker=1023), clock).next()
    assert made_at_ms(number) == T
    assert number >> SEQUENCE_BITS & WORKERS - 1 == 1023
    assert first_of(T) <= number < first_of(T + 1)
    assert 0 < number < 2**63


def test_a_full_millisecond_waits_for_the_next() -> None:
    """After 4,096 ids in one millisecond the next one waits, and bears the next millisecond."""
    looks = count()
    ids = IdMaker(Lease(), lambda: T if next(looks) < 4100 else T + 1)
    made = [ids.next() for _ in range(4097)]

    assert {made_at_ms(number) for number in made[:-1]} == {T}
    assert made_at_ms(made[-1]) == T + 1
    assert len(set(made)) == 4097


def test_a_clock_that_steps_back_a_little_is_waited_for() -> None:
    """A step back of 50 ms costs a wait, never a repeated id."""
    clock = Clock(ticks=1)
    ids = IdMaker(Lease(), clock)
    first = ids.next()
    clock.now -= 50
    assert ids.next() > first


def test_a_clock_that_steps_back_far_is_refused() -> None:
    """A step back of a minute is an error, until the clock has caught up."""
    clock = Clock(ticks=1)
    ids = IdMaker(Lease(), clock)
    first = ids.next()
    clock.now -= 60_000
    with pytest.raises(ClockSteppedBack, match="behind the last id"):
        ids.next()
    clock.now += 60_000
    assert ids.next() > first


@settings(max_examples=100)
@given(steps=st.lists(st.integers(-150, 50), max_size=40))
def test_whatever_the_clock_does_ids_grow(steps: list[int]) -> None:
    """Under any steps of the clock each id is larger than the one before, and within what was
    reserved on disk before it was given out."""
    clock, lease = Clock(ticks=7), Lease()
    ids = IdMaker(lease, clock)
    made = []
    for by in steps:
        clock.now += by
        try:
            made.append(ids.next())
        except ClockSteppedBack:
            continue
        assert made_at_ms(made[-1]) <= lease.reserved
    assert all(earlier < later for earlier, later in pairwise(made))


def test_a_failed_reservation_leads_to_no_repeated_id() -> None:
    """When the disk is full no id is given out, and none comes twice when the clock steps back."""
    clock, lease = Clock(ticks=0), Lease()
    ids = IdMaker(lease, clock)
    made = [ids.next() for _ in range(3)]
    lease.full = True
    clock.now += 6000
    with pytest.raises(OSError, match="no space"):
        ids.next()
    clock.now = T
    made += [ids.next(), ids.next()]
    assert len(set(made)) == 5


def test_threads_share_a_maker() -> None:
    """Eight threads that make ids at once never make the same."""
    ids = IdMaker(Lease(), wall_ms)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: ids.next(), range(4000)))
    assert len(set(made)) == 4000


def test_two_leases_never_share_a_number(tmp_path: Path) -> None:
    """Whoever leases a worker number while others live gets one that none of them has."""
    leases = [FolderRegistry(tmp_path).lease_worker(5000) for _ in range(5)]
    assert {lease.worker for lease in leases} == {0, 1, 2, 3, 4}


_HOLDER = """
import sys
from pathlib import Path
from labkit.runtime.registry import files as registry
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.files import FolderRegistry
lease = FolderRegistry(Path(sys.argv[1])).lease_worker(int(sys.argv[2]))
print(lease.worker, IdMaker(lease, wall_ms).next(), flush=True)
sys.stdin.read()
"""


def _killed_holder(folder: Path, reserve_ms: int) -> tuple[int, int]:
    """Worker number and last id of a process that leased, made an id, and was killed."""
    command = [sys.executable, "-c", _HOLDER, str(folder), str(reserve_ms)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        worker, number = map(int, process.stdout.readline().split())
        assert FolderRegistry(folder).lease_worker(0).worker != worker, "the lease of the living"
        process.kill()
    return worker, number


def test_the_number_of_a_dead_process_is_free_again(tmp_path: Path) -> None:
    """A number comes back when its process died and the time that it reserved is over, and then
    its ids are larger than all before."""
    worker, number = _killed_holder(tmp_path, reserve_ms=0)
    lease = wait_until(
        lambda: next(
            (
                leased
                for leased in [FolderRegistry(tmp_path).lease_worker(0)]
                if leased.worker == worker
            ),
            None,
        ),
        "the number of the killed holder is free",
    )
    assert IdMaker(lease, wall_ms).next() > number


def test_reserved_time_is_not_used_again(tmp_path: Path) -> None:
    """The number of a process killed ahead of its reserved time is left alone: another is taken."""
    worker, number = _killed_holder(tmp_path, reserve_ms=3_600_000)
    reserved = int((tmp_path / "workers" / f"{worker}.reserved").read_text())
    assert reserved >= made_at_ms(number) + 3_600_000
    assert FolderRegistry(tmp_path).lease_worker(0).worker != worker


@settings(max_examples=60)
@given(
    made_ms=st.integers(0, 3 * RESERVE_MS),
    later_ms=st.integers(1, 3_600_000),
    steps=st.lists(st.integers(-2 * 3_600_000, 10_000), min_size=1, max_size=12),
)
def test_a_clock_that_steps_back_before_the_first_id(
    tmp_path_factory: pytest.TempPathFactory, made_ms: int, later_ms: int, steps: list[int]
) -> None:
    """The next holder of a number repeats no id of the last one, wherever its clock goes between
    the lease and its first id; and the file never says less than it did."""
    folder = tmp_path_factory.mktemp("leases")
    path = folder / "workers" / "0.reserved"
    path.parent.mkdir()
    clock = Clock(ticks=7)
    ids = IdMaker(ReservingLease(ReservedFile(path), 0, RESERVE_MS), clock)
    first = [ids.next()]
    clock.now += made_ms
    first.append(ids.next())

    reserved = int(path.read_text())
    clock.now = reserved + later_ms
    with mock.patch.object(files, "wall_ms", clock):
        lease = FolderRegistry(folder).lease_worker(RESERVE_MS)
    assert lease.worker == 0
    again = IdMaker(lease, clock)
    second = []
    for by in steps:
        clock.now += by
        try:
            second.append(again.next())
        except NoIds:
            continue
        assert made_at_ms(second[-1]) > reserved
    assert int(path.read_text()) >= reserved
    assert not set(first) & set(second)
    clock.now = reserved + 4 * 3_600_000
    assert again.next() > max(first + second)


def test_a_refused_id_says_how_far_behind_the_clock_is(tmp_path: Path) -> None:
    """A caller that asks for an id too early hears by how much, and under which number."""
    path = tmp_path / "7.reserved"
    path.write_text(str(T + 250))
    ids = IdMaker(ReservingLease(ReservedFile(path), 7, RESERVE_MS), Clock(ticks=0))
    with pytest.raises(NothingReserved, match=r"250 ms behind what another process .* worker 7"):
        ids.next()
    assert path.read_text() == str(T + 250)
