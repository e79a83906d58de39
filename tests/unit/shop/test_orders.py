"""One order's life: saved, confirmed or cancelled, paid, returned; each once, by one winner."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.runtime.steps import Step
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order import steps
from labkit.shop.states import OrderStatus, PayStatus
from tests.support import shopping as s
from tests.support.store import COUPON, NOON, PRICE, OpenStore, Store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The order database."""
    return open_store("order")


def test_a_pre_order_is_saved_unconfirmed(store: Store) -> None:
    """Every figure of the pre-order stands in its row; nothing is told to anybody yet."""
    order_id = s.unconfirmed(store)

    row = store.row("trade_order", order_id=order_id)
    assert (row["order_status"], row["pay_status"]) == (OrderStatus.UNCONFIRMED, PayStatus.UNPAID)
    assert (row["order_amount"], row["coupon_paid"], row["money_paid"], row["pay_amount"]) == (
        2 * PRICE,
        COUPON,
        50_00,
        2 * PRICE - COUPON - 50_00,
    )
    assert (row["add_time"], row["confirm_time"]) == (NOON, None)
    assert store.emitted() == []


def test_an_order_that_comes_too_late_is_not_saved(store: Store) -> None:
    """Past the deadline of its id nothing is saved, so that a 404 told before was the truth."""
    order_id = s.opened(store).data.order_id
    store.wait(store.settings.unconfirmed_deadline + 1)
    before = store.everything()

    refused = store.run(steps.save_pre_order, s.pre_order(order_id))

    assert refused.code == Code.DEPENDENCY_AWAY
    assert store.everything() == before


def test_an_order_is_confirmed_and_its_answer_kept(store: Store) -> None:
    """A confirmed order has its time, and the same key gets the same answer from now on."""
    order_id = s.confirmed(store)

    assert s.state(store, order_id) == (OrderStatus.CONFIRMED, PayStatus.UNPAID)
    assert store.row("trade_order")["confirm_time"] == NOON
    assert s.answer_of(store, order_id).success
    assert store.emitted() == []


def test_an_order_with_nothing_left_to_pay_is_paid_at_once(store: Store) -> None:
    """Confirming an order of pay amount 0 pays it in the same transaction and says so, once."""
    order_id = s.confirmed(store, pay_amount=0)
    s.confirm(store, order_id)

    assert s.state(store, order_id) == (OrderStatus.CONFIRMED, PayStatus.PAID)
    assert store.row("trade_order")["pay_time"] == NOON
    assert store.emitted() == [("paid", str(order_id))]


@pytest.mark.parametrize("claimed", [{"pay_amount": 0}, {"user_id": s.STRANGER}])
def test_who_confirms_must_know_the_order(store: Store, claimed: dict[str, int]) -> None:
    """A confirmation's word about an order has to be so: none is paid on its word, for nobody."""
    order_id = s.unconfirmed(store, pay_amount=1)
    command = m.ConfirmPreOrder(
        **{"order_id": order_id, "user_id": s.USER, "pay_amount": 1} | claimed
    )

    assert not store.run(steps.confirm_pre_order, command).success
    assert s.state(store, order_id) == (OrderStatus.UNCONFIRMED, PayStatus.UNPAID)
    assert store.emitted() == []


def test_one_cent_left_is_not_paid(store: Store) -> None:
    """An order with anything left to pay stays unpaid."""
    assert s.state(store, s.confirmed(store, pay_amount=1)) == (
        OrderStatus.CONFIRMED,
        PayStatus.UNPAID,
    )
    assert store.emitted() == []


@pytest.mark.parametrize("by", ["failed", "expired"])
def test_cancelled_before_confirmed(store: Store, by: str) -> None:
    """A confirm that comes after a cancel loses, and the cancel message is told once."""
    order_id = s.unconfirmed(store)
    assert s.cancel(store, order_id, by).success

    lost = s.confirm(store, order_id)

    assert lost.code == Code.ORDER_CANCELLED
    assert s.state(store, order_id) == (OrderStatus.CANCELLED, PayStatus.UNPAID)
    assert store.emitted() == [("order_cancel", str(order_id))]
    assert s.answer_of(store, order_id).code == Code.STOCK_SHORT


@pytest.mark.parametrize("by", ["failed", "expired"])
def test_confirmed_before_cancelled(store: Store, by: str) -> None:
    """A cancel that comes after the confirm loses, changes nothing and tells nobody."""
    order_id = s.confirmed(store)
    before = store.everything()

    assert s.cancel(store, order_id, by).code == Code.ORDER_STATUS_UPDATE_FAILED
    assert store.everything() == before
    assert s.answer_of(store, order_id).success


@pytest.mark.parametrize("by", ["unpaid", "by_user"])
def test_a_confirmed_unpaid_order_can_be_cancelled(store: Store, by: str) -> None:
    """The user and the sweeper of unpaid orders cancel it, and its first answer stays as told."""
    order_id = s.confirmed(store)
    assert s.cancel(store, order_id, by).success
    assert s.state(store, order_id) == (OrderStatus.CANCELLED, PayStatus.UNPAID)
    assert store.emitted() == [("order_cancel", str(order_id))]
    assert s.answer_of(store, order_id).success


@pytest.mark.parametrize("by", ["unpaid", "by_user"])
def test_a_paid_order_cannot_be_cancelled(store: Store, by: str) -> None:
    """Neither the user nor the sweeper cancels what is paid: it can only be returned."""
    order_id = s.confirmed(store, pay_amount=0)
    before = store.everything()
    assert s.cancel(store, order_id, by).code == Code.ORDER_STATUS_UPDATE_FAILED
    assert store.everything() == before


def test_a_user_cancels_once(store: Store) -> None:
    """The second wish to cancel gets the answer of the first, and nothing is told again."""
    order_id = s.confirmed(store)
    first = s.cancel(store, order_id, "by_user")
    before = store.everything()
    assert s.cancel(store, order_id, "by_user").model_dump() == first.model_dump()
    assert store.everything() == before


@pytest.mark.parametrize("wish", [steps.cancel_by_user, steps.return_order])
def test_only_its_user_decides_about_an_order(store: Store, wish: Step[Any, Any]) -> None:
    """A stranger is told that there is no such order; of an undecided one, to ask again."""
    order_id = s.unconfirmed(store)
    before = store.everything()

    strange = store.run(wish, m.UserOrder(order_id=order_id, user_id=s.STRANGER))
    early = store.run(wish, m.UserOrder(order_id=order_id, user_id=s.USER))
    unknown = store.run(wish, m.UserOrder(order_id=order_id + 1, user_id=s.USER))

    assert strange.code == unknown.code == Code.ORDER_NOT_FOUND
    assert early.code == Code.ORDER_UNDECIDED
    assert store.everything() == before


def test_a_paid_order_is_returned_once(store: Store) -> None:
    """A return moves a paid order to returned and tells it; again, it changes nothing."""
    order_id = s.confirmed(store, pay_amount=0)
    first = s.return_goods(store, order_id)
    before = store.everything()

    assert s.return_goods(store, order_id).model_dump() == first.model_dump()
    assert store.everything() == before
    assert s.state(store, order_id) == (OrderStatus.RETURNED, PayStatus.PAID)
    assert store.emitted()[1:] == [("order_return", str(order_id))]


def test_a_refused_return_may_be_asked_again(store: Store) -> None:
    """An unpaid order is not returned, and that refusal is not kept: it may be paid later."""
    order_id = s.confirmed(store)
    before = store.everything()
    assert s.return_goods(store, order_id).code == Code.ORDER_STATUS_UPDATE_FAILED
    assert store.everything() == before


def test_the_cancel_message_comes_round_once(store: Store) -> None:
    """The order notes when its cancel message came round, and keeps the first time."""
    order_id = s.unconfirmed(store)
    s.cancel(store, order_id, "failed")
    store.run(steps.record_cancelled, m.OrderCancelled(order_id=order_id))
    store.wait(60)
    store.run(steps.record_cancelled, m.OrderCancelled(order_id=order_id))
    assert store.row("trade_order", order_id=order_id)["cancel_time"] == NOON


MOVES = ("confirm", "return", "failed", "expired", "unpaid", "by_user")
ALLOWED = {
    (OrderStatus.UNCONFIRMED, PayStatus.UNPAID): {
        (OrderStatus.CONFIRMED, PayStatus.UNPAID),
        (OrderStatus.CONFIRMED, PayStatus.PAID),
        (OrderStatus.CANCELLED, PayStatus.UNPAID),
    },
    (OrderStatus.CONFIRMED, PayStatus.UNPAID): {(OrderStatus.CANCELLED, PayStatus.UNPAID)},
    (OrderStatus.CONFIRMED, PayStatus.PAID): {(OrderStatus.RETURNED, PayStatus.PAID)},
}


@given(moves=st.lists(st.sampled_from(MOVES), max_size=8), pay_amount=st.sampled_from([0, 1]))
def test_any_order_of_moves(open_store: OpenStore, moves: list[str], pay_amount: int) -> None:
    """However confirm, cancels and return meet, the order moves forward only, each move has one
    winner, the answer told first stays, and each event is told if and only if it is true."""
    store = open_store("order")
    order_id = s.unconfirmed(store, pay_amount=pay_amount)
    answers = []
    for move in moves:
        old = s.state(store, order_id)
        if move == "confirm":
            s.confirm(store, order_id)
        elif move == "return":
            s.return_goods(store, order_id)
        else:
            s.cancel(store, order_id, move)
        new = s.state(store, order_id)
        assert new == old or new in ALLOWED[old]
        answers += [row["answer"] for row in store.rows("trade_order_request") if row["answer"]]

    assert len(set(answers)) <= 1
    status, paid = s.state(store, order_id)
    expected = {
        "order_cancel": status == OrderStatus.CANCELLED,
        "order_return": status == OrderStatus.RETURNED,
        "paid": paid == PayStatus.PAID,
    }
    topics = [topic for topic, _ in store.emitted()]
    assert sorted(topics) == sorted(topic for topic, true in expected.items() if true)
