"""Registries on trees of their own, in the ZooKeeper of the run's stack."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker import DockerClient
from kazoo.client import KazooClient

from labkit.home import Home
from labkit.runtime.registry.zookeeper import ZooKeeperRegistry
from labkit.settings import Settings
from labkit.stack.containers import stack as containers
from labkit.stack.setup import zookeeper as registry_in_zookeeper
from tests.support.containers.stacks import Backend

OpenRegistry = Callable[[], ZooKeeperRegistry]


@contextmanager
def looking_at(home: Home, zookeeper: Backend) -> Iterator[KazooClient]:
    """A client that looks at a home's tree, as a person would."""
    client = KazooClient(f"{zookeeper.address}/labkit/{home.mark}", timeout=30)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture(scope="session")
def zookeeper(docker: DockerClient, stack: Settings) -> Backend:
    """For labs that outlive a test, too."""
    containers.up(stack, print)
    return Backend(docker, stack.containers_name, "zookeeper")


@pytest.fixture
def home(tmp_path: Path, zookeeper: Backend) -> Home:
    """A home whose tree is made, as `labkit up` does before anything lives there."""
    home = Home(tmp_path / "home").make()
    registry_in_zookeeper.prepare(home, zookeeper.address)
    return home


@pytest.fixture
def open_registry(home: Home, zookeeper: Backend) -> Iterator[OpenRegistry]:
    """Opens the home's registry, each time as another process would."""
    opened: list[ZooKeeperRegistry] = []

    def open_one() -> ZooKeeperRegistry:
        opened.append(ZooKeeperRegistry(home, zookeeper.address))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()
