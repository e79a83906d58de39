"""One ZooKeeper for each worker of the tests, and registries on trees of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.runtime.tree import ZooKeeperRegistry
from labkit.stack import zookeeper as stack
from tests.zookeeperd import Server, server

OpenRegistry = Callable[[], ZooKeeperRegistry]


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("zookeeper")) as one:
        yield one


@pytest.fixture
def home(tmp_path: Path, zookeeper: Server) -> Home:
    """A home whose tree is made, as `labkit up` does before anything lives there."""
    home = Home(tmp_path / "home").make()
    stack.prepare(home, zookeeper.address)
    return home


@pytest.fixture
def open_registry(home: Home, zookeeper: Server) -> Iterator[OpenRegistry]:
    """Opens the home's registry, each time as another process would."""
    opened: list[ZooKeeperRegistry] = []

    def open_one() -> ZooKeeperRegistry:
        opened.append(ZooKeeperRegistry(home, zookeeper.address))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()
