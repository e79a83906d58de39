"""Addresses: who must have an event, also where a group is wired after it was written."""

import pytest

from labkit.runtime.db.tables import SENT, SETTLED
from labkit.runtime.messaging import addresses, outbox
from labkit.runtime.messaging.addresses import Subscriptions
from labkit.shop.wiring import GROUPS
from tests.support.outbox_events import emit, ids_of, sent
from tests.support.store import OpenStore, Store, audited


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The order database, whose service emits."""
    return open_store("order")


WITH_FRAUD = {**GROUPS, "order_cancel": (*GROUPS["order_cancel"], "fraud")}


def addressed(store: Store) -> list[str]:
    return str(store.row("trade_mq_producer")["groups"]).split(",")


def test_an_event_is_not_settled_without_a_group_that_was_wired_meanwhile(store: Store) -> None:
    """An earlier release asked whom it knows; a later one addressed the event to one more."""
    ids = sent(store)
    audited_before = audited(store, *ids)
    store.run(addresses.readdress, Subscriptions(WITH_FRAUD, since=ids[0] + 1))
    store.run(outbox.mark_settled, audited_before)
    row = store.row("trade_mq_producer")
    assert (row["status"], row["groups"].split(",")[-1]) == (SENT, "fraud")
    store.run(outbox.mark_settled, audited(store, *ids))
    assert store.row("trade_mq_producer")["status"] == SETTLED


def test_what_an_earlier_release_settled_just_now_is_opened_again(store: Store) -> None:
    """It wrote and settled an event beside a later one, which finds that and has it audited."""
    ids = sent(store)
    store.run(outbox.mark_settled, audited(store, *ids))
    subscriptions = Subscriptions(WITH_FRAUD, since=ids[0])
    assert store.run(addresses.lacks_addresses, subscriptions) is True
    store.run(addresses.readdress, subscriptions)
    row = store.row("trade_mq_producer")
    assert (row["status"], row["settled_time"], addressed(store)[-1]) == (SENT, None, "fraud")
    assert ids_of(store.run(outbox.claim_unsettled, None)) == ids
    assert store.run(addresses.lacks_addresses, subscriptions) is False


def test_what_was_settled_long_ago_stays_so(store: Store) -> None:
    """A group that is wired now has no claim to what was over before."""
    ids = sent(store)
    store.run(outbox.mark_settled, audited(store, *ids))
    subscriptions = Subscriptions(WITH_FRAUD, since=ids[0] + 1)
    assert store.run(addresses.lacks_addresses, subscriptions) is False
    before = store.everything()
    store.run(addresses.readdress, subscriptions)
    assert store.everything() == before


def test_a_group_that_is_wired_no_more_keeps_its_events(store: Store) -> None:
    """A start with the wrong wiring loses nothing."""
    emit(store)
    subscriptions = Subscriptions({"order_cancel": ("fraud",)}, since=0)
    store.run(addresses.readdress, subscriptions)
    assert addressed(store) == [*GROUPS["order_cancel"], "fraud"]
