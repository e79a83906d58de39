"""`insert_once` passes over a repetition of the key that it names, and over nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from labkit.runtime.db.transaction import Transaction
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.steps import step
from labkit.shop.messages import OpenOrder
from labkit.shop.order.steps import open_order
from labkit.shop.pay.steps import open_payment
from labkit.shop.tables import refund, request
from tests.support import paying
from tests.support.asking import submit
from tests.support.cases import ORDER, command_of
from tests.support.grouping import SECONDS, running
from tests.support.store import NOON, OpenStore, Store

OTHER = ORDER + 1


class SameId(IdMaker):
    """An id maker that makes one id again and again: what a clock or a lease must never do."""

    def __init__(self) -> None:
        pass

    def next(self) -> int:
        return ORDER


def asked(key: str) -> OpenOrder:
    return OpenOrder(user_id=1, idempotency_key=key, request_hash="h")


@step()
def tell(tx: Transaction, command: tuple[str, int]) -> bool:
    """Note a request under a key; False where the key is there already."""
    key, order_id = command
    row = {"user_id": 1, "idempotency_key": key, "request_hash": "h", "add_time": NOON}
    return tx.insert_once(request, **row, order_id=order_id)


def refuses(store: Store, run: Callable[[], Any]) -> None:
    """Assert that the database refuses a row, and that nothing of it is kept."""
    before = store.everything()
    with pytest.raises(IntegrityError):
        run()
    assert store.everything() == before


def test_the_key_that_is_named_is_passed_over(open_store: OpenStore) -> None:
    """The same key again changes nothing, whatever else the row says."""
    store = open_store("order")
    assert store.run(tell, ("k", ORDER))
    before = store.everything()
    assert not store.run(tell, ("k", OTHER))
    assert store.everything() == before


def test_another_key_is_an_error(open_store: OpenStore) -> None:
    """An order id that another request has is no repetition of this request."""
    store = open_store("order")
    store.run(tell, ("k", ORDER))
    refuses(store, lambda: store.run(tell, ("other", ORDER)))


def test_another_key_is_an_error_in_a_group_too(tmp_path: Path) -> None:
    """Deferred writes find it as well: who repeats an id is told, and the neighbours are done."""
    with running(tmp_path / "a", service="order") as (runner, store):
        submit(runner.database, tell, ("k", ORDER)).result(SECONDS)
        wanted = [("a", OTHER), ("b", ORDER), ("c", OTHER + 1)]
        first, repeats, last = runner.together([(tell, future) for future in wanted])
        assert first.result(SECONDS)
        assert last.result(SECONDS)
        assert isinstance(repeats.exception(SECONDS), IntegrityError)
        assert [row["idempotency_key"] for row in store.rows("trade_order_request")] == [
            "k",
            "a",
            "c",
        ]


def test_an_order_id_that_comes_twice_is_no_earlier_request(open_store: OpenStore) -> None:
    """A repeated order id is told as an error, and binds the new key to nothing."""
    store = open_store("order")
    store.ids = SameId()
    assert store.run(open_order, asked("a")).data.order_id == ORDER
    refuses(store, lambda: store.run(open_order, asked("b")))
    assert store.run(open_order, asked("a")).data.order_id == ORDER


def test_a_pay_id_that_comes_twice_is_no_earlier_payment(open_store: OpenStore) -> None:
    """A repeated pay id is not taken for the open payment of the order."""
    store = open_store("pay")
    store.ids = SameId()
    first = command_of("pay.open_payment", store)
    assert store.run(open_payment, first).success
    refuses(store, lambda: store.run(open_payment, first.model_copy(update={"order_id": OTHER})))
    assert store.run(open_payment, first).success


def test_a_refund_id_that_comes_twice_is_not_silent(open_store: OpenStore) -> None:
    """A payment that must go back is not taken at all where its refund cannot be written."""
    store = open_store("pay")
    pay_id = paying.opened(store)
    paying.end(store)
    row = {
        "refund_id": ORDER,
        "pay_id": 1,
        "order_id": 1,
        "user_id": 1,
        "amount": 1,
        "state": 0,
        "reason": "",
        "tries": 0,
        "next_try": 0,
        "add_time": NOON,
    }
    with store.engine.begin() as connection:
        connection.execute(refund.insert(), row)
    store.ids = SameId()
    refuses(store, lambda: paying.take(store, pay_id))
