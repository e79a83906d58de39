"""Each boundary refuses once, or does what it does twice: the same result."""

import pytest

from labkit.runtime.injection.boundaries import BOUNDARIES, KINDS
from tests.support.storyline import Teller

pytestmark = pytest.mark.slow

#: What a service crosses as it serves; the others are the platform's and the supervisor's.
SERVING = {boundary for kind in ("commit", "call", "send", "offset") for boundary in KINDS[kind]}


def that_can(action: str) -> list[str]:
    return [
        boundary
        for boundary, actions in BOUNDARIES.items()
        if action in actions and boundary in SERVING
    ]


@pytest.mark.parametrize("boundary", that_can("refuse"))
def test_a_refusal_at_any_boundary(teller: Teller, crossed: list[str], boundary: str) -> None:
    """Every commit, call, send and offset is refused once: decided, settled, all there."""
    names = {name for name in crossed if name.endswith(f".{boundary}")}
    assert names
    for name in names:
        teller.lab.faults.arm(name, "refuse")
    for _ in range(len(names)):  # a refusal early in a story keeps it from what comes later
        teller.story()
        teller.check()
        names = {name for name in names if teller.armed(name)}
        if not names:
            return
    pytest.fail(f"never reached: {names}")


@pytest.mark.parametrize("boundary", that_can("duplicate"))
def test_everything_is_done_twice(teller: Teller, crossed: list[str], boundary: str) -> None:
    """Each step is run, each call made, each message sent twice: as if it had been once."""
    names = {name for name in crossed if name.endswith(f".{boundary}")}
    assert names
    for name in names:
        teller.lab.faults.arm(name, "duplicate", times=2)
    for _ in range(len(names)):  # twice as slow, an order may be cancelled before what comes later
        teller.story()
        teller.check()
        if not (names := {name for name in names if teller.armed(name) == 2}):
            return teller.lab.faults.disarm()
    pytest.fail(f"never reached: {names}")
