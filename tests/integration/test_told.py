"""Answers to clients of a lab are kept when asked for, whichever the client, and compared."""

from collections.abc import Iterator

import pytest

from labkit.lab import Lab
from labkit.ops.history import RequestKind
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.storyline import quick_lab

TOLD = ("who was told so has an order", "a final no stays no", "a final answer is kept")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of which nothing is kept yet."""
    with quick_lab(tmp_path_factory.mktemp("told") / "home") as lab:
        lab.reset(stock=10)
        yield lab


@pytest.fixture
def lab(up: Lab) -> Iterator[Lab]:
    """The same, joined by who wants its history."""
    lab = Lab.up(up.home.folder, history=True)
    yield lab
    lab.client.http.close()
    up.home.history_file.unlink()


def looked_at(lab: Lab) -> dict[str, int]:
    """How many rows each invariant about it has looked at; all must hold."""
    checks = lab.check()
    assert set(checks["held"]) == {"yes"}, checks[checks["held"] != "yes"].to_string()
    return {
        row["invariant"]: row["rows"]
        for row in checks.to_dict("records")
        if row["invariant"] in TOLD
    }


def test_nothing_is_kept_unless_asked_for(up: Lab) -> None:
    """Without a history the invariants say that they have looked at nothing."""
    up.client.find(1)
    assert up.client.history == []
    assert set(looked_at(up).values()) == {0}


def test_each_client_is_heard_and_a_reset_forgets(lab: Lab) -> None:
    """A notebook's client and the command line's stand in one history, each order under a key."""
    wait_until(lambda: lab.order(goods_number=11).status == 422, "an order is refused")
    assert labkit("order", home=lab.home.folder).returncode in (0, 1)
    wait_until(lambda: lab.client.find(1).status_code == 404, "there is no order 1")
    lab.settle()
    placed = [question for question in lab.client.history if question.kind is RequestKind.PLACE]
    assert placed[-1].body["goods_number"] == 1  # the command line's
    assert placed[-2].status == 422
    assert all(question.key for question in placed)
    assert (lab.client.history[-1].kind, lab.client.history[-1].status) == (RequestKind.FIND, 404)
    counts = looked_at(lab)
    assert counts["a final no stays no"] >= 2
    assert counts["a final answer is kept"] >= 1
    lab.reset(stock=10)
    assert lab.client.history == []
    assert set(looked_at(lab).values()) == {0}


def test_an_order_that_is_gone_is_seen(lab: Lab) -> None:
    """An answer outlives the row; without a history nobody could know of it."""
    wait_until(lambda: lab.order().status == 200, "an order is placed")
    lab.settle()
    with lab.database("order") as database:
        for table in ("trade_order", "trade_order_request", "trade_operation"):
            database.exec_driver_sql(f"DELETE FROM {table}")
    checks = lab.check()
    broken = set(checks[checks["held"] == "NO"]["invariant"])
    lab.reset(stock=10)
    assert broken >= {"who was told so has an order", "a final answer is kept"}
