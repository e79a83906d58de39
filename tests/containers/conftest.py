"""One stack of containers a test run, on the loopback, from the images of compose/offline."""

from collections.abc import Callable, Iterator

import pytest
from docker import DockerClient

from labkit.lab import Lab
from labkit.settings import Settings
from labkit.stack.containers import engine
from labkit.stack.containers import stack as containers
from labkit.stack.containers.stack import ServerAddresses
from tests.support.containers.stacks import Backend, environment, own_settings, sweep
from tests.support.history import History
from tests.support.storyline import quick_lab

OwnStack = Callable[[], Settings]
#: On a busy machine a server that comes back takes much of it.
PATIENT = {
    "LABKIT_CALL_TIMEOUT": "2",
    "LABKIT_FLOW_TIMEOUT": "5",
    "LABKIT_UNCONFIRMED_DEADLINE": "7",
}


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

    def open_stack() -> Settings:
        made.append(own_settings())
        return made[-1]

    yield open_stack
    for settings in made:
        containers.down(settings, volumes=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings of the run's stack."""
    settings = own_settings()
    yield settings
    containers.down(settings, volumes=True)


@pytest.fixture
def backends(stack: Settings) -> ServerAddresses:
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, stack: Settings) -> Iterator[Lab]:
    """A lab on the run's stack, patient with a busy machine; ids run out soon after ZooKeeper."""
    settings = environment(stack) | PATIENT | {"LABKIT_WORKER_RESERVE": "1.5"}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **settings) as lab:
        yield lab


@pytest.fixture
def history(servers: dict[str, Backend], lab: Lab) -> Iterator[History]:
    """Remembers the answers; afterwards all must settle, and be as the answers say."""
    assert servers
    lab.reset(stock=100_000, balance=10**9, coupons=20_000)
    history = History(lab.home.folder)
    yield history
    lab.settle(timeout=90)
    statuses = history.check()
    assert set(statuses) <= {200, 202, 503}, (
        "while a server is away the answer says so, and no more"
    )
    checks = lab.check()
    assert set(checks["held"]) == {"yes"}, checks[checks["held"] != "yes"].to_string()
