"""Lives in which settled messages are forgotten, and come again when their rows are gone."""

from collections import Counter
from collections.abc import Iterator

import pytest

from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.inbox import Delivery
from labkit.sim.deviations import Deviation, Planned
from labkit.sim.life import Life, Stage
from labkit.sim.plan import Plan
from labkit.sim.world import settings_of

FORGETFUL = 2  # a seed whose lives forget
STORY = "cancelled"
LATE = ("delay:1.5", "delay:5")


class Lives:
    """A stage that counts, within each transaction, which events are handled.

    Attributes:
        asked: the answers to the question whether an outbox holds an event.
        twice: service and events that were handled twice, in all lives.
        forgotten: how many messages went, in all lives.
    """

    def __init__(self) -> None:
        self.stage = Stage()
        self.asked = Counter[bool]()
        self.twice: list[tuple[str, int]] = []
        self.forgotten = 0
        self._services = [name for name in self.stage.disks if name != "platform"]
        for name in self._services:
            disk = self.stage.disks[name]
            disk.raw.execute("CREATE TABLE handled (event_id INTEGER)")
            disk.tables.append("handled")

    def live(self, *deviations: Deviation, instances: int = 1, also: tuple[str, ...] = ()) -> Life:
        plan = Plan((STORY, *also), instances, FORGETFUL, deviations)
        return self.stage.live(plan, Planned(deviations), at_end=self._count)

    def _count(self) -> None:
        for name in self._services:
            rows = self.stage.checker.rows(name, "handled")
            handled = Counter(row["event_id"] for row in rows)
            self.twice += [(name, event_id) for event_id, times in handled.items() if times > 1]
            for row in self.stage.checker.rows(name, "trade_mq_forgotten"):
                self.forgotten += row["messages"]


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Lives:
    counted = Lives()
    is_new, find_held = inbox._first_time, EventConsumer._find_held

    def first_time(tx: Transaction, delivery: Delivery) -> bool:
        if new := is_new(tx, delivery):
            tx.connection.exec_driver_sql("INSERT INTO handled VALUES (?)", (delivery.event_id,))
        return new

    async def asked(consumer: EventConsumer, deliveries: list[Delivery]) -> frozenset[int]:
        held = await find_held(consumer, deliveries)
        counted.asked.update(each.event_id in held for each in deliveries)
        return held

    monkeypatch.setattr(inbox, "_first_time", first_time)
    monkeypatch.setattr(EventConsumer, "_find_held", asked)
    return counted


def repetitions(life: Life) -> Iterator[tuple[Deviation, ...]]:
    """Yield how the one message of a life comes once more, late, and what else may happen."""
    further = [
        (Deviation(point, crossing, "crash"),)
        for point, crossing in life.order
        if "crash" in life.offered[point]
        and any(part in point for part in ("forget_", "mark_settled", "offset_commit"))
    ]
    for late in LATE:
        for more in [(), *further]:
            yield (
                Deviation("order.order_cancel.before_send", 1, "duplicate"),
                Deviation("broker.order_cancel", 2, late),
                *more,
            )


def test_a_quarter_of_all_lives_forgets() -> None:
    """Which do, their seeds say."""
    kept = [settings_of(Plan((STORY,), 1, seed)).message_retention for seed in range(8)]
    assert [bool(seconds) for seconds in kept] == [seed % 4 == FORGETFUL for seed in range(8)]


@pytest.mark.parametrize("instances", [1, 2])
def test_a_late_repetition_is_never_handled(lives: Lives, instances: int) -> None:
    """Its rows are gone: what dies or stands still meanwhile, it is known as a repetition."""
    calm = lives.live(instances=instances)
    for deviations in repetitions(calm):
        life = lives.live(*deviations, instances=instances)
        assert life.breaches == (), life.plan.token
    assert lives.twice == []
    assert lives.forgotten > 50
    assert lives.asked[False] > 50, "no row was gone when the repetition came"


#: One of two clocks is ahead: what the other process tells is older than what went already.
AHEAD = (
    Deviation("order.start", 2, "clock:45"),
    Deviation("order.order_cancel.before_send", 1, "duplicate"),
    Deviation("broker.order_cancel", 2, "delay:5"),
)


def test_an_older_event_that_its_sender_holds_is_handled(lives: Lives) -> None:
    """It has no row, and is no newer than what was forgotten; only its sender knows."""
    life = lives.live(*AHEAD, instances=2, also=("accepted", "accepted"))
    assert life.breaches == ()
    assert lives.twice == []
    assert lives.asked[True] > 0


def test_what_nobody_clears_is_never_handled(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above fails where what is old is a repetition."""

    async def held(_consumer: EventConsumer, _deliveries: list[Delivery]) -> frozenset[int]:
        return frozenset()

    monkeypatch.setattr(EventConsumer, "_find_held", held)
    life = lives.live(*AHEAD, instances=2, also=("accepted", "accepted"))
    assert any("does not settle" in breach for breach in life.breaches)


def test_without_the_question_it_is_handled_twice(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above fails where an inbox takes for new what it has no row for."""
    monkeypatch.setattr(inbox, "expect_new", lambda *_: None)
    for late in LATE:
        duplicate = Deviation("order.order_cancel.before_send", 1, "duplicate")
        lives.live(duplicate, Deviation("broker.order_cancel", 2, late))
    assert {service for service, _ in lives.twice} == {"order", "goods", "coupon", "user", "pay"}
