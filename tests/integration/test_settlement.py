"""Settlement: the broker lies, a subscriber is away or comes later; every message arrives, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.stack.supervisor import control
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.history import History
from tests.support.storyline import FAIL, placed, quick_lab

pytestmark = pytest.mark.slow

OUTBOX = "SELECT event_id, status, tries FROM trade_mq_producer"
INBOX = "SELECT event_id, msg_key FROM trade_mq_consumer_log"
EARLIER = "UPDATE trade_mq_producer SET groups = replace(groups, 'coupon,', '')"


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield lab


@pytest.mark.parametrize("tail", [False, True], ids=["all", "a random tail"])
def test_the_broker_loses_what_it_acknowledged(lab: Lab, history: History, tail: bool) -> None:
    """Ten times under load, each time with messages that a subscriber has not read: all arrive."""
    lab.faults.arm(FAIL, "refuse", times=10**6)
    with history.buying(clients=4, money_paid=1):
        for seed in range(10):
            with lab.faults.killed("coupon"):
                wait_until(
                    lambda: len(unread(history, "coupon")) >= 8, "messages are sent and not read"
                )
                assert lab.faults.lose_broker(seed if tail else None) >= 1
                assert unread(history, "coupon")
    lab.settle(timeout=40)
    assert not unread(history, "coupon")


def test_a_subscriber_is_away_while_messages_flow(lab: Lab, history: History) -> None:
    """It is asked again and again in vain, and the broker forgets all: on its return it has all."""
    lab.faults.arm(FAIL, "refuse", times=10**6)
    with history.buying(clients=2, money_paid=1):
        with lab.faults.killed("coupon"):
            wait_until(lambda: tried(history) >= 3, "it was asked again and again", timeout=30)
            missed = unread(history, "coupon")
            assert lab.faults.lose_broker() >= len(missed) >= 10
        wait_until(
            lambda: not missed & unread(history, "coupon"), "it has what it missed", timeout=30
        )


def test_a_group_that_is_added_later(tmp_path: Path) -> None:
    """Messages that are not settled when a group is wired reach it, though not meant for it then.

    On disk they are as an earlier wiring, without the coupon service, would have left them.
    """
    with quick_lab(tmp_path / "home") as lab:
        history = History(lab.home.folder)
        control.tell(lab.home, "hold", name="coupon")
        ended = [placed(history, money_paid=1).order_id for _ in range(3)]
        assert [history.cancel(order_id).status_code for order_id in ended] == [200] * 3
        wait_until(
            lambda: len(unread(history, "coupon")) == 3, "the messages are sent, not settled"
        )
    assert history.tables.write("order", EARLIER) == 3
    with quick_lab(tmp_path / "home") as lab:
        lab.settle()
        got = {row["msg_key"] for row in history.tables.rows("coupon", INBOX)}
        assert got == {str(order_id) for order_id in ended}
        assert set(lab.check()["held"]) == {"yes"}
        history.check()


def test_losing_is_told(lab: Lab, history: History) -> None:
    """The command line says how many records the broker lost, so that nobody trusts an idle one."""
    assert history.cancel(placed(history).order_id).status_code == 200
    lab.settle()
    result = labkit("lose-broker", "--seed", "7", home=lab.home.folder).stdout
    assert int(result.removeprefix("records that the broker lost: ")) >= 1
    lab.faults.lose_broker()
    assert lab.faults.lose_broker() == 0


def tried(history: History) -> int:
    """How often the message that waits longest was tried."""
    return max((row["tries"] for row in history.tables.rows("order", OUTBOX)), default=0)


def unread(history: History, group: str) -> set[int]:
    """Events that the broker acknowledged and that a group has no row for."""
    sent = {row["event_id"] for row in history.tables.rows("order", OUTBOX) if row["status"]}
    return sent - {row["event_id"] for row in history.tables.rows(group, INBOX)}
