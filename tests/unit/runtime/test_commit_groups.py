"""Group commit: any grouping, and any crash in between, gives what running one by one gives."""

import asyncio
import signal
import subprocess
import sys
from concurrent.futures import wait
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.runtime.injection.failpoints import FailpointStore
from tests.support.asking import submit
from tests.support.crashing import group_of
from tests.support.grouping import (
    SECONDS,
    Mark,
    Runner,
    StepCall,
    counting_commits,
    end_of,
    give_back,
    in_any_order,
    mark,
    one_by_one,
    raise_it,
    running,
    tables,
    take,
    tell_and_fail,
    url_of,
)
from tests.support.store import STOCK, OpenStore, Store

ROOT = Path(__file__).parents[3]
NUMBER = count()


# Four orders, so that duplicates, other bodies under the same key, late steps and early
# compensations are frequent; stock for two or three of them, so that refusals are too.
_orders = st.integers(1, 4)
_stock = st.one_of(
    st.builds(take, _orders, st.sampled_from([1, 2, 6, STOCK + 1])), st.builds(give_back, _orders)
)
_harmless = _stock | st.builds(mark, _orders)
_failing = st.builds(lambda order_id: (tell_and_fail, Mark(order_id=order_id)), _orders)
_groups = st.lists(
    st.lists(_harmless, min_size=1, max_size=6)
    | st.lists(_harmless | _failing, min_size=1, max_size=6),
    min_size=1,
    max_size=4,
)


def commits_of(group: list[StepCall]) -> int:
    """One for the gate, one for the group; where a step raises, one for each that does not."""
    failing = sum(which is tell_and_fail for which, _ in group)
    return 1 + (len(group) - failing if failing else 1)


@given(groups=_groups)
def test_any_grouping_equals_one_by_one(
    open_store: OpenStore, tmp_path: Path, groups: list[list[StepCall]]
) -> None:
    """The same answers, the same rows in the same order, the same events handed over; and they
    were groups: so many commits as there are groups, where no step raises."""
    alone = open_store("goods")
    expected = [one_by_one(alone, group) for group in groups]
    folder = tmp_path / f"groups-{next(NUMBER)}"
    with running(folder) as (runner, store), counting_commits(folder) as commits:
        ended = [[end_of(future) for future in runner.together(group)] for group in groups]
        assert len(commits) == sum(map(commits_of, groups))
        assert ended == expected
        assert tables(store) == tables(alone)
        in_outbox = [row["event_id"] for row in store.rows("trade_mq_producer")]
        assert [event_id for event_id, *_ in runner.events] == in_outbox


def test_a_group_is_bounded(tmp_path: Path) -> None:
    """However many wait, a transaction takes a hundred of them: readers and others get a turn."""
    with running(tmp_path / "a") as (runner, _), counting_commits(tmp_path / "a") as commits:
        for future in runner.together([mark(number) for number in range(250)]):
            future.result(SECONDS)
    assert len(commits) == 1 + 3


# neighbours

MARK = mark(100)
FAULTS = [
    ("before_commit", "refuse"),
    ("before_commit", "delay:0.05"),
    ("after_commit", "delay:0.05"),
    ("after_commit", "duplicate"),
]


def among(neighbours: list[StepCall], at: int) -> tuple[list[StepCall], int]:
    """A group of these and MARK, and where it stands."""
    at = min(at, len(neighbours))
    return [*neighbours[:at], MARK, *neighbours[at:]], at


@pytest.mark.parametrize(("boundary", "action"), FAULTS)
@settings(max_examples=10)
@given(neighbours=st.lists(_stock, min_size=1, max_size=5), at=st.integers(0, 5))
def test_a_fault_of_one_is_its_own(
    open_store: OpenStore,
    tmp_path: Path,
    boundary: str,
    action: str,
    neighbours: list[StepCall],
    at: int,
) -> None:
    """A failpoint refuses, delays or doubles one of a group: it ends as that says, and its
    neighbours have the answers and the rows that they have without it."""
    alone, folder = open_store("goods"), tmp_path / f"faults-{next(NUMBER)}"
    expected = one_by_one(alone, neighbours)
    with running(folder) as (runner, store):
        FailpointStore(folder).arm(f"goods.tell.{boundary}", action)
        group, at = among(neighbours, at)
        ended = [end_of(future) for future in runner.together(group)]
        assert FailpointStore(folder).armed() == {}, "the fault was never reached"
        own = ended.pop(at)
        if action == "refuse":
            assert own[0] == "Refused"
            assert in_any_order(store) == in_any_order(alone)
            own = end_of(submit(runner.database, *MARK))
        assert ended == expected
        assert [own] == one_by_one(alone, [MARK])
        assert in_any_order(store) == in_any_order(alone)


@pytest.mark.parametrize("boundary", ["before_commit", "after_commit"])
def test_nobody_waits_for_a_delayed_one(tmp_path: Path, boundary: str) -> None:
    """While one of a group is held up for an hour, the others, and who comes later, are done."""
    with running(tmp_path / "a") as (runner, _):
        FailpointStore(tmp_path / "a").arm(f"goods.tell.{boundary}", "delay:3600")
        group, at = among([take(1, 1), take(2, 1), give_back(3)], 1)
        futures = runner.together(group)
        delayed = futures.pop(at)
        futures.append(submit(runner.database, *take(4, 1)))
        assert not wait(futures, SECONDS).not_done
        assert not delayed.done()


RAISED = [
    ZeroDivisionError("a defect"),
    StopIteration("of an iterator"),
    KeyError(1),
    RecursionError("too deep"),
    asyncio.InvalidStateError("odd"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_step_raises_is_its_own(tmp_path: Path, error: Exception) -> None:
    """Awaited in a loop, too: who stands before and behind one that raises is answered."""

    async def main(runner: Runner) -> list[Any]:
        with runner.held():
            group = [take(1, 1), (raise_it, error), take(2, 1)]
            answers = [runner.database.ask(*call) for call in group]
        return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), SECONDS)

    with running(tmp_path / "a") as (runner, _):
        before, raised, behind = asyncio.run(main(runner))
    assert (before.success, behind.success) == (True, True)
    assert str(error) in str(raised)


# crashes

KILLED = [
    ("in_step", 0),
    ("in_step", 3),
    ("before_commit", 2),
    ("after_commit", 0),
    ("after_commit", 5),
]


@pytest.mark.parametrize(("where", "at"), KILLED)
def test_any_crash_equals_one_by_one(
    open_store: OpenStore, tmp_path: Path, where: str, at: int
) -> None:
    """The process is killed while a group runs, before or after its commit: whoever was answered
    finds what was done, and all asked again, of a new process, end as one by one."""
    folder, alone = tmp_path / "crash", open_store("goods")
    folder.mkdir()
    outside = Store("goods", folder, url_of(folder))
    for store in (outside, alone):
        one_by_one(store, [take(9, 2)])
    before = in_any_order(outside)
    group = group_of(folder, where, at)

    heard = crash(folder, where, at)

    kept = {row["order_id"] for row in outside.rows("trade_operation")}
    assert all(group[place][1].order_id in kept for place in heard)
    if where == "in_step":
        assert in_any_order(outside) == before
    runner = Runner(folder, worker=2)
    again = [end_of(future) for future in runner.together(group)]
    runner.database.close()
    assert again == one_by_one(alone, group)
    assert in_any_order(outside) == in_any_order(alone)
    outside.engine.dispose()


def crash(folder: Path, where: str, at: int) -> list[int]:
    """Run the group in a process that is killed; the places of those that were answered."""
    if where != "in_step":
        FailpointStore(folder).arm(f"goods.tell.{where}", "crash")
    command = [sys.executable, "-m", "tests.support.crashing", str(folder), where, str(at)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, process.stderr
    return [int(place) for place in process.stdout.split()]
