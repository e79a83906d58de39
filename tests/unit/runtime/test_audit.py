"""The audit tells what a group has lost from what it has not read yet, and asks again for that."""

import asyncio
from typing import Any, cast

import pytest

from labkit.runtime.clock import MachineClock
from labkit.runtime.errors import Unknown
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.audit import Findings, PatientAdmin, ask_groups
from labkit.runtime.messaging.inbox import Delivery, Missing, MissingQuery
from labkit.runtime.messaging.outbox import MissingFrom, OutboxMessage
from labkit.runtime.messaging.ports import Polled
from labkit.runtime.messaging.reading import NEVER_S, LostQuery, Progress, Reading
from labkit.shop.goods import return_stock
from labkit.shop.messages import OrderCancelled
from tests.support.store import OpenStore, Store

FIRST = inbox.guarded(return_stock, OrderCancelled)
DELAY = 1.0


class Group:
    """The admin service of the group goods, with its real inbox.

    Args:
        store: its database.
        behind_s: how long ago its consumer had read all there was; None: it cannot say.
        comes: events that it had begun with when it was asked first.
    """

    def __init__(self, store: Store, behind_s: float | None, comes: tuple[Delivery, ...]) -> None:
        self._store = store
        self._behind_s = behind_s
        self._comes = comes
        self.asked_twice: list[int] = []

    async def find_missing(self, query: MissingQuery) -> Missing:
        """As a service answers it."""
        return cast(Missing, self._store.run(inbox.find_missing, query))

    async def find_lost(self, query: LostQuery) -> Reading:
        """As a service answers it, where its writer is not locked."""
        self.asked_twice += query.fingerprints
        if self._behind_s is None:
            raise Unknown("goods gave no answer to find_lost")
        for come in self._comes:
            self._store.run(FIRST, come)
        behind_s = dict.fromkeys(query.routes, self._behind_s)
        return Reading(missing=await self.find_missing(query), behind_s=behind_s)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The database of the service that is asked."""
    return open_store("goods")


def message(number: int, order_id: int = 7, tries: int = 0) -> OutboxMessage:
    event = OrderCancelled(order_id=order_id)
    body = event.model_dump_json()
    return OutboxMessage(number, event.topic, event.tag, str(order_id), body, ("goods",), "", tries)


def delivery(number: int, order_id: int = 7) -> Delivery:
    sent = message(number, order_id)
    return Delivery(
        group="goods", event_id=number, topic=sent.topic, tag=sent.tag, key=sent.key, body=sent.body
    )


def audit(
    store: Store,
    *messages: OutboxMessage,
    behind_s: float | None = 0.0,
    comes: tuple[Delivery, ...] = (),
    delay: float = DELAY,
) -> tuple[Findings, Group]:
    group = Group(store, behind_s, comes)
    admin = PatientAdmin(cast(AdminService, group), pause_s=0)
    return asyncio.run(ask_groups(lambda _: admin, list(messages), delay)), group


def test_what_a_group_has_is_not_asked_for_twice(store: Store) -> None:
    """The second question costs the group a place in its writer's queue."""
    store.run(FIRST, delivery(1))
    findings, group = audit(store, message(1))
    assert [sent.event_id for sent in findings.arrived([message(1)])] == [1]
    assert group.asked_twice == []


def test_what_a_group_lacks_that_has_read_all_is_lost(store: Store) -> None:
    """Its consumer has read past it, all that it read is in the inbox, and this is not."""
    store.run(FIRST, delivery(1))
    sent = [message(1), message(2)]
    findings, group = audit(store, *sent)
    assert findings.missing() == [MissingFrom(event_ids=(2,), groups=("goods",))]
    assert [sent.event_id for sent in findings.arrived(sent)] == [1]
    assert (findings.waiting, group.asked_twice) == ({}, [2])


def test_what_a_group_has_begun_with_is_not_lost(store: Store) -> None:
    """It stands in the writer's queue when it is asked for, and before the second question."""
    findings, _ = audit(store, message(1), comes=(delivery(1),))
    assert (findings.missing(), findings.waiting) == ([], {})
    assert [sent.event_id for sent in findings.arrived([message(1)])] == [1]


def test_an_idle_group_is_believed_in_the_end(store: Store) -> None:
    """It looks every 0.4 s and notes that when the look is over, so that it is behind by up to
    twice as much; with short audits, too, it is asked no longer than ten times."""
    findings, _ = audit(store, message(1, tries=8), behind_s=0.8, delay=0.05)
    assert findings.missing() == []
    findings, _ = audit(store, message(1, tries=9), behind_s=0.8, delay=0.05)
    assert findings.missing() == [MissingFrom(event_ids=(1,), groups=("goods",))]


def test_what_a_group_may_not_have_read_yet_is_asked_for_again(store: Store) -> None:
    """Nothing is sent to a group that lags: it has too much already."""
    findings, _ = audit(store, message(1), behind_s=30)
    assert (findings.missing(), findings.arrived([message(1)])) == ([], [])
    assert findings.waiting == {"goods lags behind, and has not read it yet": [message(1)]}


def test_a_group_whose_database_writes_nothing_is_asked_again(store: Store) -> None:
    """Its reader answers, and nobody knows what it would have by now."""
    findings, _ = audit(store, message(1), behind_s=None)
    assert (findings.missing(), findings.arrived([message(1)])) == ([], [])
    assert findings.waiting == {"goods gave no answer to find_lost": [message(1)]}


@pytest.mark.parametrize("pause_s", [0, 60])
def test_who_gave_no_answer_is_not_asked_at_once_again(store: Store, pause_s: float) -> None:
    """Batches of an audit that come after each other do not each wait for the same group."""
    group = Group(store, None, ())
    admin = PatientAdmin(cast(AdminService, group), pause_s)
    for number in range(1, 6):
        findings = asyncio.run(ask_groups(lambda _: admin, [message(number)], DELAY))
        assert findings.waiting == {"goods gave no answer to find_lost": [message(number)]}
    assert len(group.asked_twice) == (1 if pause_s else 5)


def test_a_group_that_is_always_busy_is_believed_in_the_end(store: Store) -> None:
    """It never reads all there is, but what has waited for longer than it is behind is lost."""
    old, new = message(1, tries=9), message(2)
    findings, _ = audit(store, old, new, behind_s=3)
    assert findings.missing() == [MissingFrom(event_ids=(1,), groups=("goods",))]
    assert list(findings.waiting.values()) == [[new]]


@pytest.mark.parametrize("comes", [(), (delivery(1),)])
def test_another_message_under_an_id_is_no_loss(store: Store, comes: Any) -> None:
    """It was there before the first question, or came before the second."""
    if not comes:
        store.run(FIRST, delivery(1))
    findings, _ = audit(store, message(1, order_id=8), comes=comes)
    assert findings.missing() == [MissingFrom(event_ids=(1,), foreign=("goods",))]


class Seconds(MachineClock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


PAID = [("paid", number) for number in range(3)]


def polled(*assigned: int, read: tuple[int, ...]) -> Polled:
    return Polled([], frozenset(map(PAID.__getitem__, assigned)), frozenset(PAID[n] for n in read))


def test_progress_begins_with_reading_a_partition_to_its_end() -> None:
    """Before that nobody knows what the instance has; after it each poll counts for itself."""
    clock = Seconds()
    progress = Progress(clock)
    assert progress.behind_s(PAID[0]) == progress.behind_s(None) == NEVER_S
    progress.note(polled(0, 1, read=(0,)), at=99.0)
    assert progress.behind_s(PAID[0]) == 1.0
    assert progress.behind_s(PAID[1]) == NEVER_S
    clock.now = 105.0
    progress.note(polled(0, 1, read=(1,)), at=105.0)
    assert (progress.behind_s(PAID[0]), progress.behind_s(PAID[1])) == (6.0, 0.0)


def test_an_instance_says_nothing_of_a_partition_that_another_one_reads() -> None:
    """It was given one that it has not read yet, and has lost one: what it read there, it forgets,
    also where it gets it back."""
    progress = Progress(Seconds())
    progress.note(polled(0, 1, read=(0, 1)), at=100.0)
    progress.note(polled(1, 2, read=(1,)), at=100.0)
    behind_s = [progress.behind_s(part) for part in PAID]
    assert behind_s == [NEVER_S, 0.0, NEVER_S]
    progress.note(polled(0, 1, 2, read=(1, 2)), at=100.0)
    assert progress.behind_s(PAID[0]) == NEVER_S


def test_who_joins_its_group_anew_says_nothing() -> None:
    """While partitions are distributed nobody reads them: what comes meanwhile waits, unread."""
    progress = Progress(Seconds())
    progress.note(polled(0, read=(0,)), at=100.0)
    progress.note(polled(read=()), at=100.0)
    assert progress.behind_s(PAID[0]) == NEVER_S
