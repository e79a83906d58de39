"""An embedded lab, started afresh for each test; after each it must settle and be whole.

A file whose tests are marked slow may wreck its lab and has one of its own. All others share one
in each process of the test run: a lab takes longer to come up than most tests take.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.ops import in_flight
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from tests.support.history import History
from tests.support.storyline import Teller, quick_lab


@contextmanager
def untraced_lab(home: Path) -> Iterator[Lab]:
    """Run a lab for a block; not traced, as outside of notebooks."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LABKIT_TRACING", "off")
        lab = Lab.up(home)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of all files that leave it whole."""
    with untraced_lab(tmp_path_factory.mktemp("shared") / "home") as lab:
        yield lab


@pytest.fixture(scope="session")
def shared_quick_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same with short times, in which an outage heals in a second."""
    with quick_lab(tmp_path_factory.mktemp("shared-quick") / "home") as lab:
        yield lab


@pytest.fixture(scope="module")
def running_lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The lab of a test file, whatever the tests before did to it."""
    if request.node.get_closest_marker("slow"):
        with untraced_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
            yield lab
    else:
        yield request.getfixturevalue("shared_lab")


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab with the first data back; afterwards all must settle and every invariant hold."""
    running_lab.reset()
    yield running_lab
    assert_whole(running_lab.home.folder)


@pytest.fixture
def reader(lab: Lab) -> Iterator[Reader]:
    """Reads the lab's databases as they are."""
    with closing(Reader(lab.home)) as reader:
        yield reader


@pytest.fixture
def history(lab: Lab) -> Iterator[History]:
    """Places orders and remembers the answers; afterwards they are compared with the tables."""
    history = History(lab.home.folder)
    yield history
    lab.settle(timeout=40)
    history.check()


def assert_whole(home: Path) -> None:
    """Settle, then look at every invariant."""
    with closing(Reader(Home(home))) as reader:
        assert in_flight.settle(reader, 40) == []
        broken = [verdict for verdict in check.check(reader) if not verdict["held"]]
        assert not broken, broken


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teller]:
    """Tells one story on a lab of its own, and finds what it crosses."""
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield Teller(lab)


@pytest.fixture(scope="module")
def crossed(teller: Teller) -> list[str]:
    """Found by telling the story, not picked by hand."""
    return teller.crossed()
