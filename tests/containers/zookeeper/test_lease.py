"""Worker numbers in ZooKeeper: whoever sleeps, dies or loses its data, no id repeats."""

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.client import KazooClient

from labkit.home import Home
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.ids import IdMaker, NothingReserved, made_at_ms
from labkit.runtime.registry.zookeeper import ZooKeeperRegistry
from labkit.waiting import wait_until
from tests.containers.zookeeper.conftest import OpenRegistry, looking_at
from tests.containers.zookeeper.holder import Holder, holding, worker_of
from tests.support.containers.stacks import Backend

RESERVE_MS = 1000


@pytest.fixture
def tree(home: Home, zookeeper: Backend) -> Iterator[KazooClient]:
    """A client that looks at the home's tree, as a person would."""
    with looking_at(home, zookeeper) as client:
        yield client


def expire(registry: ZooKeeperRegistry) -> None:
    """End a session at the server, without a word to whose it is."""
    session = registry._session
    other = KazooClient(session.address, client_id=session.client.client_id)
    other.start()
    other.stop()
    other.close()


def attempt(ids: IdMaker) -> int | None:
    """An id; None where it was refused."""
    try:
        return ids.next()
    except NothingReserved:
        return None


def test_many_at_once_get_different_numbers(open_registry: OpenRegistry) -> None:
    """Ten that lease in the same moment have ten numbers."""
    registries = [open_registry() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        leases = list(pool.map(lambda registry: registry.lease_worker(RESERVE_MS), registries))
    assert {worker_of(IdMaker(lease, wall_ms).next()) for lease in leases} == set(range(10))


def test_all_numbers_taken_is_said(
    open_registry: OpenRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no worker number left the error says so; here there are two instead of 1,024."""
    monkeypatch.setattr("labkit.runtime.registry.zookeeper_lease.WORKERS", 2)
    for _ in range(2):
        open_registry().lease_worker(RESERVE_MS)
    with pytest.raises(RuntimeError, match="all worker ids are leased"):
        open_registry().lease_worker(RESERVE_MS)


def test_who_wakes_up_past_its_session_repeats_no_id(
    home: Home, zookeeper: Backend, tree: KazooClient
) -> None:
    """A stopped process loses its number to another that makes ids under it; woken, it is refused,
    gets a new number and goes on, and no id of the two is the same."""
    with holding(home, zookeeper.address, RESERVE_MS) as sleeper:
        number = worker_of(sleeper.ids[0])
        sleeper.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        wait_until(lambda: str(number) not in tree.get_children("/workers"), "its session is over")
        with holding(home, zookeeper.address, RESERVE_MS) as heir:
            print(f"taken over after {time.monotonic() - stopped:.1f} s")
            assert worker_of(heir.ids[0]) == number
            sleeper.process.send_signal(signal.SIGCONT)
            wait_until(lambda: worker_of(sleeper.ids[-1]) != number, "the sleeper has a new number")
            sleeper.more()
            heir.more()
            assert "refused" in sleeper.said
            assert worker_of(heir.ids[-1]) == number
            assert not set(sleeper.ids) & set(heir.ids)
            assert sleeper.ids == sorted(set(sleeper.ids))


def test_a_number_is_left_alone_until_its_reserved_time_is_over(
    home: Home, zookeeper: Backend, tree: KazooClient, open_registry: OpenRegistry
) -> None:
    """Of a killed process the node goes with its session, and still nobody takes its number."""
    with holding(home, zookeeper.address, reserve_ms=3_600_000) as holder:
        number = worker_of(holder.ids[0])
    wait_until(lambda: not tree.get_children("/workers"), "its session is over")
    lease = open_registry().lease_worker(RESERVE_MS)
    assert worker_of(IdMaker(lease, wall_ms).next()) != number


def test_a_session_that_ends_costs_no_id(open_registry: OpenRegistry, tree: KazooClient) -> None:
    """The session is ended at the server: ids go on, later again under the same number."""
    registry = open_registry()
    ids = IdMaker(registry.lease_worker(RESERVE_MS), wall_ms)
    number, session = worker_of(ids.next()), registry._session.session_id

    def is_taken_again() -> bool:
        ids.next()
        node = tree.exists(f"/workers/{number}")
        return bool(node and node.ephemeralOwner != session)

    expire(registry)
    wait_until(is_taken_again, "the number is ours under a new session")
    later = wall_ms() + 2 * RESERVE_MS
    wait_until(lambda: made_at_ms(ids.next()) > later, "ids go on past what was reserved")
    assert worker_of(ids.next()) == number


def test_who_does_not_know_whether_it_reserved_looks(
    open_registry: OpenRegistry, tree: KazooClient
) -> None:
    """An answer was lost, so that the version is another than we know: the number stays ours."""
    ids = IdMaker(open_registry().lease_worker(RESERVE_MS), wall_ms)
    number = worker_of(ids.next())
    written, _stat = tree.get(f"/reserved/{number}")
    tree.set(f"/reserved/{number}", written)  # as our own request did whose answer was lost
    later = wall_ms() + 2 * RESERVE_MS
    wait_until(lambda: made_at_ms(attempt(ids) or 0) > later, "ids go on past what was reserved")
    assert tree.get_children("/workers") == [str(number)]


def test_a_clock_that_is_behind_makes_no_ids_of_its_predecessors_time(
    open_registry: OpenRegistry,
) -> None:
    """Ids of a number begin after all that was reserved before, whatever our own clock says."""
    lease = open_registry().lease_worker(RESERVE_MS)
    with pytest.raises(NothingReserved):
        IdMaker(lease, lambda: wall_ms() - 3_600_000).next()
    assert IdMaker(lease, wall_ms).next()


@pytest.mark.parametrize(("go", "come"), [("kill", "start"), ("pause", "unpause")])
def test_without_the_ensemble_ids_go_on_until_the_reserved_time_is_over(
    open_registry: OpenRegistry, zookeeper: Backend, go: str, come: str
) -> None:
    """Then they are refused, without any waiting; when it is back, so are ids within seconds."""
    ids = IdMaker(open_registry().lease_worker(5 * RESERVE_MS), wall_ms)
    getattr(zookeeper, go)()
    gone, last = time.monotonic(), ids.next()
    try:
        while made := attempt(ids):
            last = made
        assert time.monotonic() - gone > RESERVE_MS / 1000, "ids went on for a while"
        began = time.monotonic()
        assert {attempt(ids) for _ in range(1000)} == {None}
        assert time.monotonic() - began < 1, "a refusal does not wait"
    finally:
        getattr(zookeeper, come)()
    back = time.monotonic()
    assert wait_until(lambda: attempt(ids), "ids are made again", timeout=10) > last
    print(f"ids are back {time.monotonic() - back:.2f} s after {come}")


def test_an_ensemble_that_lost_its_data_is_told_by_the_living(
    open_registry: OpenRegistry, zookeeper: Backend
) -> None:
    """A former holder claims its number at once and goes on; a newcomer gets another."""
    ids = IdMaker(open_registry().lease_worker(10 * RESERVE_MS), wall_ms)
    number = worker_of(ids.next())
    zookeeper.kill()
    zookeeper.forget()
    zookeeper.start()
    lease = open_registry().lease_worker(2 * RESERVE_MS)
    assert worker_of(IdMaker(lease, wall_ms).next()) != number
    assert worker_of(ids.next()) == number


def test_what_an_ensemble_lost_is_not_used_twice(home: Home, zookeeper: Backend) -> None:
    """While it loses its data a process sleeps that has reserved time. Who comes then and gets its
    number begins only when that time is over."""
    reserve_ms = 5 * RESERVE_MS
    with holding(home, zookeeper.address, reserve_ms) as sleeper:
        sleeper.process.send_signal(signal.SIGSTOP)
        zookeeper.kill()
        zookeeper.forget()
        zookeeper.start()
        with holding(home, zookeeper.address, reserve_ms) as heir:
            assert worker_of(heir.ids[0]) == worker_of(sleeper.ids[0])
            sleeper.process.send_signal(signal.SIGCONT)
            sleeper.more()
            heir.more()
            assert not set(sleeper.ids) & set(heir.ids)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_no_id_is_made_twice(home: Home, zookeeper: Backend, seed: int) -> None:
    """Four processes make ids while they are stopped, woken and killed, and ZooKeeper goes
    and comes with its data or without, in an order of chance: all ids differ, and those of one
    process grow."""
    chance = random.Random(seed)
    holders = [Holder(home, zookeeper.address, RESERVE_MS) for _ in range(4)]
    living, stopped = list(holders), set[int]()

    def stop(holder: Holder) -> None:
        holder.process.send_signal(signal.SIGSTOP)
        stopped.add(holder.process.pid)

    def wake(holder: Holder) -> None:
        holder.process.send_signal(signal.SIGCONT)
        stopped.discard(holder.process.pid)

    def replace(holder: Holder) -> None:
        holder.process.kill()
        living.remove(holder)
        living.append(Holder(home, zookeeper.address, RESERVE_MS))
        holders.append(living[-1])

    def shake(_holder: Holder) -> None:
        zookeeper.kill()
        zookeeper.start()

    def wipe(_holder: Holder) -> None:
        zookeeper.kill()
        zookeeper.forget()
        zookeeper.start()

    try:
        for _ in range(25):
            chance.choice([stop, stop, wake, wake, replace, shake, wipe])(chance.choice(living))
            awake = [alive for alive in living if alive.process.pid not in stopped]
            if awake:
                chance.choice(awake).more()
        for holder in living:
            wake(holder)
        for holder in living:
            holder.more()
    finally:
        for holder in holders:
            holder.process.kill()
            holder.process.wait()
    made = [number for holder in holders for number in holder.ids]
    print(f"{len(made)} ids of {len(holders)} processes")
    assert len(set(made)) == len(made)
    assert all(holder.ids == sorted(holder.ids) for holder in holders)
