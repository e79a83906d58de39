"""The order service dies at any boundary it crosses, and nothing is lost, minted or left open."""

from collections.abc import Iterator

import pytest

from labkit.runtime.failpoints import KINDS
from tests.telling import Teller, quick_lab


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teller]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield Teller(lab)


@pytest.fixture(scope="module")
def crossed(teller: Teller) -> list[str]:
    """Found by telling the story, not picked by hand."""
    return [name for name in teller.crossed() if name.startswith("order.")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_boundary_of_the_order_service(
    teller: Teller, crossed: list[str], kind: str, subtests: pytest.Subtests
) -> None:
    """Killed before and after each commit, call, send and offset: decided, settled, all there."""
    names = [name for name in crossed if name.rpartition(".")[2] in KINDS[kind]]
    assert names
    for name in names:
        with subtests.test(failpoint=name):
            teller.crash(name, teller.story)
