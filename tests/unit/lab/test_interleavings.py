"""The life of one order in memory: what notebook 05 counts is what the shop's own steps do."""

import asyncio
from typing import Any

import pytest

from labkit.lab.inprocess.interleavings import Interleaving, tally


@pytest.fixture(scope="module")
def life() -> Interleaving:
    return asyncio.run(Interleaving.begin())


@pytest.mark.parametrize(
    ("events", "late", "accepted"),
    [
        (["callback", "cancel"], False, "applied"),
        (["cancel", "callback"], False, "blocked"),
        (["callback", "cancel"], True, "undone"),
        (["time-out", "query"], False, "blocked"),
        (["refund answer", "query", "time-out"], True, "undone"),
    ],
)
def test_how_a_life_ends(life: Interleaving, events: list[str], late: bool, accepted: str) -> None:
    """The order of events and messages decides, and money, goods and points follow."""
    end = asyncio.run(life.live(events, late=late))
    assert end["accept_payment"] == accepted
    assert (end["order"], *_rest(end)) == (
        ("1 confirmed, 2 paid", life.pay_amount, 0, 998, "yes", 800_00)
        if accepted == "applied"
        else ("2 cancelled, 0 unpaid", 0, 1, 999, "no", 900_00)
    )
    assert end["points"] * 100 == end["log"] == end["money"]


def test_a_life_leaves_nothing_to_the_next(life: Interleaving) -> None:
    """Whatever was lived before, the same events end the same."""
    first = asyncio.run(life.live(["callback"]))
    asyncio.run(life.live(list(life.events), late=True))
    assert asyncio.run(life.live(["callback"])) == first


def test_equal_ends_are_counted() -> None:
    """One row for each different end, the most frequent first."""
    table = tally([{"a": 1}, {"a": 2}, {"a": 2}])
    assert table.to_dict("records") == [{"a": 2, "times": 2}, {"a": 1, "times": 1}]


def _rest(end: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(end[name] for name in ("money", "refunds", "stock", "coupon", "balance"))
