"""One stack of containers a test run, on the loopback, from the images of compose/offline."""

from collections.abc import Callable, Iterator

import pytest
from docker import DockerClient

from labkit.settings import Settings
from labkit.stack import containers, engine
from labkit.stack.containers import Backends
from tests.containers.stacks import Backend, own_settings, sweep

OwnStack = Callable[[], Settings]


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerClient]:
    """The engine; where there is none, the tests fail with the line that people get."""
    with engine.connect() as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def swept(docker: DockerClient) -> None:
    sweep(docker)


@pytest.fixture
def own_stack() -> Iterator[OwnStack]:
    """Settings of stacks that the test brings up itself; whatever it makes goes."""
    made: list[Settings] = []

    def one() -> Settings:
        made.append(own_settings())
        return made[-1]

    yield one
    for settings in made:
        containers.down(settings, volumes=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings of the run's stack."""
    settings = own_settings()
    yield settings
    containers.down(settings, volumes=True)


@pytest.fixture
def backends(stack: Settings) -> Backends:
    """The run's stack, up and ready whatever the test before did to it."""
    return containers.up(stack, print)


@pytest.fixture
def servers(docker: DockerClient, stack: Settings) -> dict[str, Backend]:
    """The servers of the run's stack, up and ready."""
    containers.up(stack, print)
    return {
        name: Backend(docker, stack.containers_name, name)
        for name in ("mysql", "kafka", "zookeeper")
    }


@pytest.fixture
def mysql(servers: dict[str, Backend]) -> Backend:
    return servers["mysql"]


@pytest.fixture
def kafka(servers: dict[str, Backend]) -> Backend:
    return servers["kafka"]


@pytest.fixture
def zookeeper(servers: dict[str, Backend]) -> Backend:
    return servers["zookeeper"]
