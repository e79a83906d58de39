"""The audit tells what a group has lost from what it has not read yet, and asks again for that."""

import asyncio
from typing import Any, cast

import pytest

from labkit.runtime.errors import Unknown
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.audit import Asked, Findings, ask_groups
from labkit.runtime.messaging.inbox import Delivery, Missing, MissingQuery
from labkit.runtime.messaging.outbox import MissingFrom, OutboxMessage
from labkit.runtime.messaging.reading import Progress, Reading
from labkit.shop.goods import return_stock
from labkit.shop.messages import OrderCancelled
from tests.support.store import OpenStore, Store

FIRST = inbox.guarded(return_stock, OrderCancelled)
DELAY = 1.0


class Group:
    """The desk of the group goods, with its real inbox.

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

    async def find_lost(self, query: MissingQuery) -> Reading:
        """As a service answers it, where its writer is not locked."""
        self.asked_twice += query.fingerprints
        if self._behind_s is None:
            raise Unknown("goods gave no answer to find_lost")
        for come in self._comes:
            self._store.run(FIRST, come)
        return Reading(missing=await self.find_missing(query), behind_s=self._behind_s)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The database of the service that is asked."""
    return open_store("goods")


def parcel(number: int, order_id: int = 7, tries: int = 0) -> OutboxMessage:
    event = OrderCancelled(order_id=order_id)
    body = event.model_dump_json()
    return OutboxMessage(number, event.topic, event.tag, str(order_id), body, ("goods",), "", tries)


def delivery(number: int, order_id: int = 7) -> Delivery:
    sent = parcel(number, order_id)
    return Delivery(
        group="goods", event_id=number, topic=sent.topic, tag=sent.tag, key=sent.key, body=sent.body
    )


def audit(
    store: Store,
    *parcels: OutboxMessage,
    behind_s: float | None = 0.0,
    comes: tuple[Delivery, ...] = (),
) -> tuple[Findings, Group]:
    group = Group(store, behind_s, comes)
    desk = Asked(cast(AdminService, group), pause_s=0)
    return asyncio.run(ask_groups(lambda _: desk, list(parcels), DELAY)), group


def test_what_a_group_has_is_not_asked_for_twice(store: Store) -> None:
    """The second question costs the group a place in its writer's queue."""
    store.run(FIRST, delivery(1))
    report, group = audit(store, parcel(1))
    assert [message.event_id for message in report.arrived([parcel(1)])] == [1]
    assert group.asked_twice == []


def test_what_a_group_lacks_that_has_read_all_is_lost(store: Store) -> None:
    """Its consumer has read past it, all that it read is in the inbox, and this is not."""
    store.run(FIRST, delivery(1))
    sent = [parcel(1), parcel(2)]
    report, group = audit(store, *sent)
    assert report.lacking() == [MissingFrom(event_ids=(2,), groups=("goods",))]
    assert [message.event_id for message in report.arrived(sent)] == [1]
    assert (report.waiting, group.asked_twice) == ({}, [2])


def test_what_a_group_has_begun_with_is_not_lost(store: Store) -> None:
    """It stands in the writer's queue when it is asked for, and before the second question."""
    report, _ = audit(store, parcel(1), comes=(delivery(1),))
    assert (report.lacking(), report.waiting) == ([], {})
    assert [message.event_id for message in report.arrived([parcel(1)])] == [1]


def test_what_a_group_may_not_have_read_yet_is_asked_for_again(store: Store) -> None:
    """Nothing is sent to a group that lags: it has too much already."""
    report, _ = audit(store, parcel(1), behind_s=30)
    assert (report.lacking(), report.arrived([parcel(1)])) == ([], [])
    assert report.waiting == {"goods lags behind, and has not read it yet": [parcel(1)]}


def test_a_group_whose_database_writes_nothing_is_asked_again(store: Store) -> None:
    """Its reader answers, and nobody knows what it would have by now."""
    report, _ = audit(store, parcel(1), behind_s=None)
    assert (report.lacking(), report.arrived([parcel(1)])) == ([], [])
    assert report.waiting == {"goods gave no answer to find_lost": [parcel(1)]}


@pytest.mark.parametrize("pause_s", [0, 60])
def test_who_gave_no_answer_is_not_asked_at_once_again(store: Store, pause_s: float) -> None:
    """Batches of an audit that come after each other do not each wait for the same group."""
    group = Group(store, None, ())
    asked = Asked(cast(AdminService, group), pause_s)
    for number in range(1, 6):
        missing = asyncio.run(ask_groups(lambda _: asked, [parcel(number)], DELAY))
        assert missing.waiting == {"goods gave no answer to find_lost": [parcel(number)]}
    assert len(group.asked_twice) == (1 if pause_s else 5)


def test_a_group_that_is_always_busy_is_believed_in_the_end(store: Store) -> None:
    """It never reads all there is, but what has waited for longer than it is behind is lost."""
    old, new = parcel(1, tries=9), parcel(2)
    report, _ = audit(store, old, new, behind_s=3)
    assert report.lacking() == [MissingFrom(event_ids=(1,), groups=("goods",))]
    assert list(report.waiting.values()) == [[new]]


@pytest.mark.parametrize("comes", [(), (delivery(1),)])
def test_another_message_under_an_id_is_no_loss(store: Store, comes: Any) -> None:
    """Whether it was there before the first question or came before the second."""
    if not comes:
        store.run(FIRST, delivery(1))
    report, _ = audit(store, parcel(1, order_id=8), comes=comes)
    assert report.lacking() == [MissingFrom(event_ids=(1,), foreign=("goods",))]


def test_progress_begins_with_joining() -> None:
    """Who has joined no group yet has read nothing; who was thrown out knows how far it was."""
    progress = Progress()
    progress.note(5.0, joined=False)
    assert progress.behind_s() == 1e9
    progress.note(5.0, joined=True)
    first = progress.behind_s()
    progress.note(6.0, joined=False)
    assert progress.behind_s() < first < 1e9
