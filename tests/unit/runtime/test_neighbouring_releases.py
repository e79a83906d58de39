"""Neighbouring releases on the real paths: calls over a socket, events through an inbox.

The later release stands here as classes of its own, and each side is real.
"""

import asyncio
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from labkit.results import Message, Result
from labkit.runtime.db.tables import DONE, WAITING
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.errors import Unknown
from labkit.runtime.evolution import FromTheFuture, known, write
from labkit.runtime.messaging import due, inbox
from labkit.runtime.messaging.consumer import failure_of
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.runtime.steps import Event, Step
from labkit.shop import messages as m
from labkit.shop.order import steps as order_steps
from tests.support.counter import SECRET, Add, Counting, Total, serving
from tests.support.inbox_events import AGAIN, FIRST, ORDER, TABLE, delivery, give_one, given_out
from tests.support.store import OpenStore, Store


class AddLater(Message):
    """`Add`, with a field that came later."""

    order_id: int
    amount: int
    note: str = ""


class AddOtherwise(Message):
    """`Add` in a version whose amount means something else."""

    version: ClassVar[int] = 2

    order_id: int
    amount: int


class LaterCounter(Protocol):
    """The counter's contract in the later release."""

    async def add(self, command: AddLater) -> Result[Total]: ...


class OtherCounter(Protocol):
    """The counter's contract with the other meaning."""

    async def add(self, command: AddOtherwise) -> Result[Total]: ...


class CancelledLater(Event):
    """`OrderCancelled` in its second version, which names the order by another field too."""

    topic: ClassVar[str] = "order_cancel"
    tag: ClassVar[str] = "cancelled"
    version: ClassVar[int] = 2

    number: int


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The goods database."""
    return open_store("goods")


async def _ask(folder: Path, contract: type, command: Message) -> tuple[Result[Total], list[Add]]:
    """Ask a server of the earlier release; its answer, and what it was asked as it read it."""
    counting, seen = Counting(), list[Add]()

    async def add(asked: Add) -> Result[Total]:
        seen.append(asked)
        return await counting.add(asked)

    async with serving(folder, add):
        calls = Calls("tests", FolderRegistry(folder), connect_with(SECRET, 10), None, 10)
        try:
            return await calls.stub(contract, "counter").add(command), seen
        finally:
            await calls.close()


@pytest.mark.parametrize("note", ["", "for Liu Bei"])
def test_a_later_caller_is_served(note: str, tmp_path: Path) -> None:
    """What the earlier service does not know it keeps; a default does not even travel."""
    command = AddLater(order_id=ORDER, amount=3, note=note)
    answer, (seen,) = asyncio.run(_ask(tmp_path, LaterCounter, command))
    assert answer.data == Total(amount=3)
    assert seen.model_extra == ({"note": note} if note else {})
    assert seen.meaning() == command.meaning()


def test_a_call_with_another_meaning_is_not_carried_out(tmp_path: Path) -> None:
    """The caller learns why, and nothing was done."""
    with pytest.raises(Unknown, match="version 2 of Add is of a later release"):
        asyncio.run(_ask(tmp_path, OtherCounter, AddOtherwise(order_id=ORDER, amount=3)))


def test_an_event_with_a_new_field_is_handled(store: Store) -> None:
    """It says what the earlier release knows, and more."""
    store.run(FIRST, delivery(body=f'{{"order_id":{ORDER},"reason":"too late"}}'))
    assert (given_out(store), store.row(TABLE)["status"]) == (1, DONE)


ORDERED = {
    "user_id": 1,
    "goods_id": 1,
    "goods_number": 1,
    "goods_price": 5_000_00,
    "shipping_fee": 0,
    "order_amount": 5_000_00,
    "money_paid": 0,
    "coupon_id": None,
    "address": "北京",
    "consignee": "刘备",
}


@pytest.mark.parametrize("more", ["cancel_reason", "order_status", "self", "table", "gift_note"])
def test_a_field_of_another_release_gets_into_no_table(more: str, open_store: OpenStore) -> None:
    """Whatever it is called, a step writes what its own release knows; and a retry that has lost
    the field on its way, as through that table, is the same request."""
    orders = open_store("order")
    key = m.OpenOrder(user_id=1, idempotency_key="k", request_hash="h")
    order_id = orders.run(order_steps.open_order, key).data.order_id

    def command(**fields: object) -> m.PreOrder:
        request = m.PlaceOrder.model_validate({**ORDERED, **fields})
        amounts = {"goods_amount": 5_000_00, "coupon_paid": 0, "pay_amount": 5_000_00}
        return m.PreOrder(order_id=order_id, request=request, **amounts)

    first = orders.run(order_steps.save_pre_order, known(command(**{more: 3})))
    assert first.success
    row = orders.row("trade_order")
    assert (row["order_status"], row["cancel_reason"]) == (0, None)
    assert orders.run(order_steps.save_pre_order, known(command())) == first


def test_an_event_of_a_later_version_waits_for_its_release(store: Store) -> None:
    """It is no poison: it burns no try, however often it is looked at, and says what it waits for.
    The release that knows it handles it from its row."""
    later = delivery(body=write(CancelledLater(order_id=ORDER, number=7)))
    for step in (FIRST, *[AGAIN] * (store.settings.retry_limit + 2)):
        with pytest.raises(FromTheFuture) as caught:
            store.run(step, later)
        store.run(inbox.keep_failure, failure_of(later, caught.value))
        assert store.run(due.find_due, None).deliveries == []
        store.wait(store.settings.retry_max)
        (later,) = store.run(due.find_due, None).deliveries
    row = store.row(TABLE)
    assert (row["status"], row["tries"], given_out(store)) == (WAITING, 0, 0)
    assert "version 2 of OrderCancelled is of a later release" in row["last_error"]
    assert store.events == []

    store.run(inbox.retried(give_one, CancelledLater), later)
    assert (given_out(store), store.row(TABLE)["status"]) == (1, DONE)


def test_a_later_release_reads_the_events_of_the_one_before(store: Store) -> None:
    """What lies in outboxes, topics and inboxes at the upgrade is brought up to date."""
    seen: list[int] = []

    def note(_tx: Transaction, event: CancelledLater) -> None:
        seen.append(event.number)

    upcasts = {CancelledLater: {1: lambda old: {**old, "number": old["order_id"] % 10}}}
    store.run(inbox.guarded(Step(note, "note"), CancelledLater, upcasts), delivery())
    assert seen == [ORDER % 10]
