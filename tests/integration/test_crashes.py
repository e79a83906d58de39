"""The order service dies at any boundary it crosses, and nothing is lost, minted or left open."""

import pytest

from labkit.runtime.failpoints import KINDS
from tests.telling import Teller


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["commit", "call", "send", "offset"])
def test_a_crash_at_any_boundary_of_the_order_service(
    teller: Teller, crossed: list[str], kind: str, subtests: pytest.Subtests
) -> None:
    """Killed before and after each commit, call, send and offset: decided, settled, all there."""
    mine = [name for name in crossed if name.startswith("order.")]
    names = [name for name in mine if name.rpartition(".")[2] in KINDS[kind]]
    assert names
    for name in names:
        with subtests.test(failpoint=name):
            teller.crash(name, teller.story)
