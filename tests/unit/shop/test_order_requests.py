"""Idempotency keys, answers and look-ups: what a client is told, now and later."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from labkit.results import Result
from labkit.runtime.registry.ids import made_at_ms
from labkit.runtime.steps import Step
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order import finding, queries, steps
from tests.support import shopping as s
from tests.support.store import OpenStore, Store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The order database."""
    return open_store("order")


def too_late(store: Store) -> None:
    """Let an order's deadline pass."""
    store.wait(store.settings.unconfirmed_deadline + 1)


class Order:
    """The order service as its flows see it, on a store."""

    def __init__(self, store: Store) -> None:
        self.settings, self._store = store.settings, store

    async def run(self, step: Step[Any, Any], command: Any) -> Any:
        return self._store.run(step, command)


def find(store: Store, order_id: int) -> Code:
    flow: Any = finding.find_order(Order(store), m.FindOrder(order_id=order_id))
    return Code(asyncio.run(flow).code)


def refuse(store: Store, order_id: int, code: Code = Code.STOCK_SHORT) -> Code:
    command = m.RefuseOrder(order_id=order_id, code=code, message="a reason")
    return Code(store.run(steps.refuse_order, command).code)


def test_a_key_stands_for_one_order(store: Store) -> None:
    """The same key with the same request gives the same order id, and changes nothing."""
    first = s.opened(store)
    before = store.everything()
    assert s.opened(store) == first
    assert store.everything() == before


def test_a_key_with_another_request_is_refused(store: Store) -> None:
    """The same key with another request is refused, and the first stands."""
    first = s.opened(store)
    assert s.opened(store, digest="another").code == Code.IDEMPOTENCY_KEY_REUSED
    assert s.opened(store) == first


def test_keys_are_of_a_user(store: Store) -> None:
    """Two users may choose the same key, and one user two keys: four orders."""
    users, keys = (s.USER, s.STRANGER), ("a", "b")
    ids = {s.opened(store, key, user_id).data.order_id for key in keys for user_id in users}
    assert len(ids) == 4


def test_a_key_whose_order_never_came_starts_afresh(store: Store) -> None:
    """When the first order's time is over and nothing was saved, the key gets a new order id."""
    first = s.opened(store).data.order_id
    too_late(store)
    second = s.opened(store).data.order_id
    assert made_at_ms(second) > made_at_ms(first)
    assert s.opened(store).data.order_id == second
    assert not store.run(steps.save_pre_order, s.pre_order(first)).success


def test_a_key_keeps_the_order_that_was_saved(store: Store) -> None:
    """A saved order is decided under its own id, however long that takes."""
    order_id = s.unconfirmed(store)
    too_late(store)
    assert s.opened(store).data.order_id == order_id


def test_a_key_gets_its_final_answer_for_ever(store: Store) -> None:
    """Confirmed, cancelled or refused: whoever asks again under the key is told the same."""
    for key, decide in (("a", s.confirm), ("b", refuse)):
        order_id = s.opened(store, key).data.order_id
        if decide is s.confirm:
            store.run(steps.save_pre_order, s.pre_order(order_id))
        decide(store, order_id)
        kept = s.opened(store, key).data
        too_late(store)
        assert s.opened(store, key).data == kept
        assert kept.order_id == order_id
        assert kept.answer


def test_a_refusal_is_kept_where_it_is_final(store: Store) -> None:
    """A broken rule is the final answer, and an order can no longer be saved under that id."""
    order_id = s.opened(store).data.order_id
    assert refuse(store, order_id) == Code.STOCK_SHORT
    assert refuse(store, order_id, Code.USER_MISSING) == Code.STOCK_SHORT
    assert not store.run(steps.save_pre_order, s.pre_order(order_id)).success
    assert store.rows("trade_order") == []


def test_an_absent_dependency_is_no_final_answer(store: Store) -> None:
    """A request that failed because a service was away is not kept: it may be sent again."""
    order_id = s.opened(store).data.order_id
    before = store.everything()
    assert refuse(store, order_id, Code.DEPENDENCY_AWAY) == Code.DEPENDENCY_AWAY
    assert store.everything() == before


def test_a_refusal_does_not_override_an_order(store: Store) -> None:
    """Where the same key made the order meanwhile, its state is the answer, not the refusal."""
    order_id = s.unconfirmed(store)
    assert refuse(store, order_id) == Code.ORDER_UNDECIDED
    s.confirm(store, order_id)
    assert refuse(store, order_id) == Code.SUCCESS


def test_a_late_refusal_of_a_key_that_moved_on(store: Store) -> None:
    """A flow that hung is refused under its old id; the key's new order is not touched, and will
    have the final answer: what the late one is told is none."""
    old = s.opened(store).data.order_id
    too_late(store)
    new = s.opened(store).data.order_id
    assert refuse(store, old) == Code.DEPENDENCY_AWAY
    assert s.opened(store).data == m.Opening(order_id=new)


def test_an_order_is_shown_when_it_is_decided(store: Store) -> None:
    """Before it is saved or confirmed the answer is "ask again"; then the order itself."""
    order_id = s.opened(store).data.order_id
    assert find(store, order_id) == Code.ORDER_UNDECIDED
    store.run(steps.save_pre_order, s.pre_order(order_id))
    assert find(store, order_id) == Code.ORDER_UNDECIDED
    s.confirm(store, order_id)
    order = store.run(queries.find_order, m.FindOrder(order_id=order_id)).data
    assert order.model_dump() == store.row("trade_order", order_id=order_id)


def test_an_order_of_a_clock_that_is_ahead_may_come(store: Store) -> None:
    """Another instance gave it an id of our future: it is no 404, for it is saved after all."""
    store.wait_by_the_wall(60)
    order_id = s.opened(store).data.order_id
    store.wait_by_the_wall(-60)
    assert find(store, order_id) == Code.ORDER_UNDECIDED
    assert store.run(steps.save_pre_order, s.pre_order(order_id)).success


def test_an_unknown_order_is_not_found(store: Store) -> None:
    """An id that is too old to come, or of no request, is of no order: that 404 is final."""
    order_id = s.opened(store).data.order_id
    assert find(store, order_id + (60_000 << 22)) == Code.ORDER_NOT_FOUND
    too_late(store)
    assert find(store, order_id) == Code.ORDER_NOT_FOUND
    assert find(store, 1) == Code.ORDER_NOT_FOUND


def test_what_is_not_found_never_comes(store: Store) -> None:
    """Once that is told it is written: nothing is saved any more, by whatever clock, and whoever
    asks under the key is refused for good."""
    order_id = s.opened(store).data.order_id
    too_late(store)
    assert find(store, order_id) == Code.ORDER_NOT_FOUND
    kept = s.opened(store).data
    store.wait_by_the_wall(-3600)
    saved = store.run(steps.save_pre_order, s.pre_order(order_id))

    assert (saved.code, Code(saved.code).is_final) == (Code.ORDER_CANCELLED, True)
    assert kept.order_id == order_id
    assert Result[m.OrderPlaced].model_validate_json(kept.answer) == saved
    assert find(store, order_id) == Code.ORDER_NOT_FOUND
    assert store.rows("trade_order") == store.rows("trade_operation") == []


def test_a_clock_alone_tells_nobody_that_there_is_no_order(store: Store) -> None:
    """An instance whose clock is hours ahead looks without writing: it does not know."""
    order_id = s.opened(store).data.order_id
    store.wait_by_the_wall(3 * 3600)
    answer = store.run(queries.find_order, m.FindOrder(order_id=order_id))
    store.wait_by_the_wall(-3 * 3600)
    assert answer.code == Code.ORDER_UNDECIDED
    assert store.run(steps.save_pre_order, s.pre_order(order_id)).success


@pytest.mark.parametrize("end", [steps.cancel_by_user, steps.return_order])
def test_who_ends_an_order_that_may_come_is_told_to_ask(store: Store, end: Any) -> None:
    """Its user names an order that is not saved yet: that it is not there is no answer before it
    is ruled out; and from then on it is."""
    order_id = s.opened(store).data.order_id
    command = m.UserOrder(order_id=order_id, user_id=s.USER)
    assert store.run(end, command).code == Code.ORDER_UNDECIDED
    too_late(store)
    assert store.run(end, command).code == Code.ORDER_NOT_FOUND
    assert not store.run(steps.save_pre_order, s.pre_order(order_id)).success
    assert find(store, order_id) == Code.ORDER_NOT_FOUND


def test_an_order_that_is_saved_is_not_ruled_out(store: Store) -> None:
    """Whoever looks late at an unconfirmed order leaves it to the sweeper."""
    order_id = s.unconfirmed(store)
    too_late(store)
    before = store.everything()
    assert find(store, order_id) == Code.ORDER_UNDECIDED
    query = m.FindOrder(order_id=order_id)
    assert store.run(steps.rule_out, query).code == Code.ORDER_UNDECIDED
    assert store.everything() == before


def test_unconfirmed_orders_expire_by_the_wall_clock(store: Store) -> None:
    """The sweeper finds unconfirmed orders past their deadline, and no others."""
    old, decided = s.unconfirmed(store, "a"), s.confirmed(store, "b")
    assert store.run(queries.find_expired, None) == []
    too_late(store)
    s.unconfirmed(store, "c")
    assert store.run(queries.find_expired, None) == [old]
    assert decided != old


def test_unpaid_orders_expire_by_the_lab_clock(store: Store) -> None:
    """Advancing the lab clock alone makes confirmed unpaid orders due; paid ones never are."""
    unpaid = s.confirmed(store, "a")
    s.confirmed(store, "b", pay_amount=0)
    ttl = timedelta(seconds=store.settings.unpaid_order_ttl)
    store.clock.advance(ttl - timedelta(seconds=1))
    assert store.run(queries.find_unpaid, None) == []
    store.clock.advance(timedelta(seconds=1))
    assert store.run(queries.find_unpaid, None) == [unpaid]
    s.cancel(store, unpaid, "unpaid")
    assert store.run(queries.find_unpaid, None) == []
