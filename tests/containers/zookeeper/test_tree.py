"""Instances in ZooKeeper: found at once, gone with their session, known while it is away."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kazoo.client import KazooClient

from labkit.home import Home
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.registry.ports import Instance
from labkit.runtime.registry.zookeeper import ZooKeeperRegistry
from labkit.runtime.registry.zookeeper_session import SESSION_S, serves
from labkit.waiting import wait_until
from tests.containers.zookeeper.conftest import OpenRegistry
from tests.support.containers.stacks import Backend

_INSTANCE = """
import os, sys
from labkit.home import Home
from labkit.runtime.registry.ports import Instance
from labkit.runtime.registry.zookeeper import ZooKeeperRegistry
registry = ZooKeeperRegistry(Home(sys.argv[1]), sys.argv[2])
registry.announce(Instance("goods", int(sys.argv[3]), "127.0.0.1:" + sys.argv[4], os.getpid()))
print("announced", flush=True)
sys.stdin.read()
"""


@contextmanager
def serving(
    home: Home, address: str, instance: int, port: int = 1
) -> Iterator[subprocess.Popen[str]]:
    """A process that has announced itself as goods-N, killed at the end."""
    command = [sys.executable, "-c", _INSTANCE, home.folder, address, str(instance), str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=Path(__file__).parents[3]) as process:
        try:
            assert process.stdout.readline(), "it could not announce itself"
            yield process
        finally:
            process.kill()


def ports_of(registry: FolderRegistry) -> list[int]:
    return [int(instance.endpoint.partition(":")[2]) for instance in registry.instances("goods")]


def finds(registry: FolderRegistry, *ports: int, seconds: float = 15) -> float:
    """Wait until a registry finds just these; how long that took."""
    began = time.monotonic()
    wait_until(lambda: ports_of(registry) == list(ports), f"{ports} are found", seconds)
    return time.monotonic() - began


def test_who_announced_is_found_and_who_withdrew_is_not(open_registry: OpenRegistry) -> None:
    """With all that it said, under its own service only, by others who looked before or after;
    and the home's folder knows it too, as the supervisor looks there."""
    before, mine, second = open_registry(), open_registry(), open_registry()
    assert before.instances("goods") == []
    me = Instance("goods", 1, "127.0.0.1:1", os.getpid())
    mine.announce(me)
    second.announce(Instance("goods", 2, "127.0.0.1:2", os.getpid()))
    finds(before, 1, 2)
    finds(open_registry(), 1, 2)
    assert before.instances("goods")[0] == me == FolderRegistry(mine.folder).instances("goods")[0]
    assert before.instances("good") == []
    mine.withdraw("goods", 1)
    finds(before, 2)


def test_a_dead_process_vanishes_with_its_session(
    home: Home, zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """Of two the killed one is gone a session later, and the other stays."""
    looker = open_registry()
    with serving(home, zookeeper.address, 1, 1) as first, serving(home, zookeeper.address, 2, 2):
        finds(looker, 1, 2)
        first.kill()
        took = finds(looker, 2, seconds=2 * SESSION_S)
        print(f"gone {took:.1f} s after kill −9")


def test_who_closes_is_gone_at_once(open_registry: OpenRegistry, home: Home) -> None:
    """A session that is closed is not waited for."""
    looker, first, two = (
        open_registry(),
        *(ZooKeeperRegistry(home, open_registry()._session.address) for _ in range(2)),
    )
    first.announce(Instance("goods", 1, "127.0.0.1:1", os.getpid()))
    two.announce(Instance("goods", 2, "127.0.0.1:2", os.getpid()))
    finds(looker, 1, 2)
    first.close()
    assert finds(looker, 2) < SESSION_S / 2
    two.close()


def test_a_restarted_instance_replaces_its_dead_one_at_once(
    home: Home, zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """The next process of the name does not wait for the session of the last to end."""
    looker = open_registry()
    with serving(home, zookeeper.address, 1, 1):
        finds(looker, 1)
    with serving(home, zookeeper.address, 1, 2):
        assert finds(looker, 2) < SESSION_S / 2


def test_the_last_that_was_found_counts_while_the_ensemble_is_away(
    home: Home, zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """Killed and back with what it knew, or with nothing: callers always know the instances."""
    looker = open_registry()
    with serving(home, zookeeper.address, 1, 1):
        finds(looker, 1)
        for lose in (lambda: None, zookeeper.forget):
            zookeeper.kill()
            lose()
            assert ports_of(looker) == [1]
            zookeeper.start()
            with serving(home, zookeeper.address, 2, 2):
                assert 1 in ports_of(looker)
                finds(looker, 1, 2)
                finds(open_registry(), 1, 2)
            finds(looker, 1)


def test_a_long_pause_of_the_ensemble_ends_every_session_and_nobody_is_forgotten(
    home: Home, zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """When it wakes up it takes all for dead; each comes back, and is known all along."""
    looker = open_registry()
    with serving(home, zookeeper.address, 1, 1):
        finds(looker, 1)
        session = looker._session.session_id
        zookeeper.pause()
        asleep = time.monotonic()
        wait_until(lambda: time.monotonic() - asleep > SESSION_S + 1, "a session's time is over")
        zookeeper.unpause()
        listings = []
        wait_until(
            lambda: (
                listings.append(ports_of(looker))
                or looker._session.session_id not in (None, session)
            ),
            "the session is a new one",
            timeout=45,
        )
        finds(open_registry(), 1)
        assert [] not in listings


def test_an_absent_ensemble_is_waited_for(home: Home, zookeeper: Backend) -> None:
    """An instance that starts without it gets its number, and is found, when it comes."""
    zookeeper.kill()
    registry = ZooKeeperRegistry(home, zookeeper.address)
    registry.announce(Instance("goods", 1, "127.0.0.1:1", os.getpid()))
    assert registry.instances("goods") == []
    zookeeper.start()
    assert IdMaker(registry.lease_worker(1000), wall_ms).next()
    finds(registry, 1)
    registry.close()


def test_closing_does_not_wait_for_an_absent_ensemble(
    zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """A service that is told to stop goes, whether ZooKeeper is there or not."""
    registry = open_registry()
    registry.lease_worker(1000)
    zookeeper.pause()
    try:
        began = time.monotonic()
        registry.close()
        took = time.monotonic() - began
    finally:
        zookeeper.unpause()
    assert took < 3, took


def test_a_port_that_is_open_is_not_yet_a_server_that_is_ready() -> None:
    """An instance that listens and does not answer is not ready; nor is an absent one."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert not serves("127.0.0.1", port)
    assert not serves("127.0.0.1", port)


def test_the_tree_can_be_read_with_zookeepers_own_tools(
    home: Home, zookeeper: Backend, open_registry: OpenRegistry
) -> None:
    """An instance is a node under its service, in JSON; a number has its holder and its time."""
    registry = open_registry()
    registry.announce(Instance("goods", 1, "127.0.0.1:1", 4711))
    registry.lease_worker(1000)
    finds(registry, 1)
    client = KazooClient(f"{zookeeper.address}/labkit/{home.mark}")
    client.start()
    instance, stat = client.get("/instances/goods/1")
    assert stat.ephemeralOwner == registry._session.session_id
    assert instance == (
        b'{"service": "goods", "instance": 1, "endpoint": "127.0.0.1:1", "pid": 4711}'
    )
    assert client.get("/workers/0")[0].startswith(str(os.getpid()).encode())
    assert b'"until": ' in client.get("/reserved/0")[0]
    client.stop()
    client.close()
