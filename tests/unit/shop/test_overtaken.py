"""Answers of the platform that are overtaken: every order in which questions and what befalls a
payment can meet, and a crash of the pay service in every state that they lead to.

A trade that is or can be paid must be asked about at any moment, known as paid, or given up by a
person; and in the end money is where both sides say, and an ended order keeps none.
"""

from collections.abc import Iterator

import pytest

from labkit.payment_api import keys
from tests.support.gates import explore
from tests.support.payworld import PayWorld
from tests.support.store import OpenStore

KEY = keys.new()


@pytest.fixture
def world(open_store: OpenStore) -> Iterator[PayWorld]:
    """Shop and platform, with goods and money enough."""
    world = PayWorld(open_store, KEY)
    world.open_with(stock=10**6, balance=10**9)
    yield world
    world.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "who",
    [
        ("create", "cancel", "check", "pay"),
        ("cancel", "check", "second check"),
        ("create", "check", "give up", "pay"),
        ("create", "cancel", "check", "give up"),
        ("create", "check", "loss", "pay", "callback"),
        ("check", "second check", "loss", "give up"),
    ],
    ids=" ".join,
)
def test_whatever_overtakes_an_answer(world: PayWorld, who: tuple[str, ...]) -> None:
    """No question that is answered late ends the asking about what may be paid."""
    states, ends = explore(world, who)
    print(f"{states} states, {ends} ends")
    assert ends > 1
    assert states > 30
