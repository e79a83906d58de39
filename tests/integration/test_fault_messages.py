"""Messages that come twice, out of order, late, or that nobody can read: each has one effect."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labkit.faults import NotReached
from labkit.faults.broker_loss import BrokerLog
from labkit.lab import Lab
from labkit.shop.wiring import GROUPS
from labkit.waiting import wait_until
from tests.support.breaking import broken, trade
from tests.support.history import History
from tests.support.storyline import FAIL, Teller

pytestmark = pytest.mark.slow

CANCEL = "order_cancel"
POISON = """SELECT status, last_error FROM trade_mq_consumer_log WHERE msg_key = 'poison'
            AND topic = :topic"""
RETURNED = "SELECT order_id FROM trade_goods_number_log WHERE direction = 'return'"


@pytest.mark.parametrize("topic", [CANCEL, "paid"])
def test_twice_is_once(teller: Teller, topic: str) -> None:
    """The broker holds each message of the topic twice, and its effect is there once."""
    before = counted(teller.lab, topic)
    with broken(teller, ("duplicated", (topic,))) as (reach,):
        trade(teller)
        teller.lab.settle()
        new = counted(teller.lab, topic) - before
        assert new.total() == 2 * reach.times > 0  # it is sent again, too, where it is late
        assert min(new.values()) >= 2


def test_the_later_goes_first(teller: Teller) -> None:
    """The broker has messages of one topic in another order than that of their ids, which grow with
    time; and once nothing is held back, in just that order again."""
    before = set(sent(teller.lab))
    with broken(teller, ("reordered", (CANCEL,))) as (reach,), failing(teller) as history:
        for _ in range(6):
            assert history.place().refused
        teller.lab.settle()
        new = [purchase for purchase in sent(teller.lab) if purchase not in before]
        assert new != sorted(new)
        assert reach.times >= 1
    before |= set(new)
    with failing(teller) as history:
        for _ in range(3):
            assert history.place().refused
            teller.lab.settle()
    new = [purchase for purchase in sent(teller.lab) if purchase not in before]
    assert (len(new), new) == (3, sorted(new))
    teller.check()


def test_one_message_alone_overtakes_nobody(teller: Teller) -> None:
    """It is held back for a while and then goes: nothing was reordered, and that is said."""
    nothing = pytest.raises(NotReached, match="no two messages were sent to order_cancel")
    with nothing, teller.lab.faults.reordered(CANCEL), failing(teller) as history:
        assert history.place().refused
        teller.lab.settle()
    teller.check()


def test_what_is_late_goes_when_the_fault_is_over(teller: Teller) -> None:
    """A message that would wait an hour is not sent meanwhile, and is settled soon after."""
    with teller.lab.faults.late(CANCEL, 3600) as reach, failing(teller) as history:
        answer = history.place()
        assert answer.refused
        wait_until(lambda: reach.times, "it is held")
        assert answer.order_id not in returned(history)
        assert [future["topic"] for future in waiting(teller.lab)] == [CANCEL]
    teller.check()
    assert answer.order_id in returned(teller.history)


@pytest.mark.parametrize("topic", [CANCEL, "refunded"])
def test_poison_is_dead_and_the_others_go_on(teller: Teller, topic: str) -> None:
    """A message that nobody can read waits and is then dead in every inbox, with its cause, while
    the orders behind it come to their end; put aside, it is done, keeps its cause and breaks no
    invariant."""
    history = teller.history
    with teller.lab.faults.poison(topic) as reach:
        wait_until(lambda: reach.times == len(GROUPS[topic]), "every consumer has it")
        with failing(teller):
            answer = history.place()
        wait_until(lambda: answer.order_id in returned(history), "the next message is handled")
        wait_until(lambda: {status for status, _ in poison(history, topic)} == {2}, "it is dead")
        assert all("ValidationError" in cause for _, cause in poison(history, topic))
        verdicts = teller.lab.check()
        assert set(verdicts[verdicts["held"] != "yes"]["invariant"]) == {"nothing is given up"}
    assert {status for status, _ in poison(history, topic)} == {1}
    assert all("ValidationError" in cause for _, cause in poison(history, topic))
    teller.check()


def test_poison_that_comes_after_its_end_does_nothing(teller: Teller) -> None:
    """Nobody read it before the block was over, which is said; read later, it is done already."""
    faults, early = teller.lab.faults, pytest.raises(NotReached, match="came to no consumer")
    with early, faults.late("order_return", 60), faults.poison("order_return"):
        pass
    teller.check()
    kept = poison(teller.history, "order_return")
    assert len(kept) == len(GROUPS["order_return"])
    assert {status for status, _ in kept} == {1}


def test_a_topic_that_is_none_is_refused(teller: Teller) -> None:
    """A misspelt topic is answered with those that there are."""
    refused = pytest.raises(
        ValueError, match="there are order_cancel, order_return, paid, refunded"
    )
    with refused, teller.lab.faults.duplicated("order_cancelled"):
        pass


@contextmanager
def failing(teller: Teller) -> Iterator[History]:
    """Orders fail at confirm for a block, and each sends a message of its cancellation."""
    teller.lab.faults.arm(FAIL, "refuse", times=1000)
    yield teller.history
    teller.lab.faults.disarm(FAIL)


def records(lab: Lab, topic: str) -> Iterator[tuple[int, int]]:
    """Time and event id of what the broker holds of a topic."""
    for record in BrokerLog(lab.home).read():
        if record.topic.endswith(topic) and "dead_letter" not in record.topic:
            yield record.timestamp, int(dict(record.headers)["event_id"])


def counted(lab: Lab, topic: str) -> Counter[int]:
    """Event id → how often the broker holds it."""
    return Counter(event_id for _, event_id in records(lab, topic))


def sent(lab: Lab) -> list[int]:
    """Event ids of cancellations, in the order in which they were sent first."""
    return list(dict.fromkeys(event_id for _, event_id in sorted(records(lab, CANCEL))))


def returned(history: History) -> list[int]:
    return [row["order_id"] for row in history.tables.rows("goods", RETURNED)]


def poison(history: History, topic: str) -> list[tuple[int, str]]:
    """Status and cause of the poison in each inbox where it is."""
    return [
        (row["status"], row["last_error"] or "")
        for group in GROUPS[topic]
        for row in history.tables.rows(group, POISON, topic=topic)
    ]


def waiting(lab: Lab) -> list[dict[str, object]]:
    """Return what the outbox of order has not sent."""
    rows = lab.tables("trade_mq_producer")
    return rows[(rows["service"] == "order") & (rows["status"] == "0 unsent")].to_dict("records")
