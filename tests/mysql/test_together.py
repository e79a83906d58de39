"""Row locks allow what a single writer does not: two transactions in the midst of one order."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from labkit.results import Result
from labkit.runtime.db.database import Database
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import forgetting, inbox
from labkit.runtime.messaging.forgetting import Gone, MaybeForgotten
from labkit.runtime.steps import step
from labkit.shop.codes import Code
from labkit.shop.goods import return_stock
from labkit.shop.messages import DeductBalance, Opening, OpenOrder, OrderCancelled, RefuseOrder
from labkit.shop.order import steps as orders
from labkit.shop.pay import retries
from labkit.shop.pay import steps as payments
from labkit.shop.pay.messages import DueQuery, OpenPayment
from labkit.shop.wiring import SERVICES
from labkit.waiting import wait_until
from tests.mysql.conftest import OpenRunner
from tests.support.asking import submit
from tests.support.cases import WRITING, command_of
from tests.support.inbox_events import delivery
from tests.support.store import BALANCE, Store

ORDER = 4711
KEY = OpenOrder(user_id=1, idempotency_key="k", request_hash="h")
OPEN = OpenPayment(order_id=ORDER, user_id=1, pay_amount=5_000_00)


def in_the_midst(which: Any, entered: threading.Event, leave: threading.Event) -> Any:
    """A step that has done its work and does not commit yet."""

    @step()
    def touch(tx: Transaction, command: Any) -> Any:
        answer = which(tx, command)
        entered.set()
        assert leave.wait(timeout=60)
        return answer

    return touch


def waits(connection: Connection) -> bool:
    """Return True if somebody waits for a lock."""
    sql = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    return int(connection.execute(text(sql)).one()[1]) > 0


@pytest.mark.parametrize("first", ["the order ends", "the payment is opened"])
def test_an_ended_order_keeps_no_open_payment(
    open_runner: OpenRunner, schema: str, first: str
) -> None:
    """Whichever of the two is in the midst of it, the other waits, and sees what it did."""
    (ours, store), (other, _) = open_runner("pay"), open_runner("pay")
    stop, ends = payments.stop_payment, OrderCancelled(order_id=ORDER)
    steps = [(stop, ends), (payments.open_payment, OPEN)]
    early, late = steps if first == "the order ends" else steps[::-1]
    opened = meet(ours, other, early, late, schema)[payments.open_payment.name]
    if first == "the order ends":
        assert opened.name == "ORDER_NOT_PAYABLE"
        assert store.rows("trade_pay") == []
    else:
        assert opened.success
        assert [row["is_paid"] for row in store.rows("trade_pay")] == [2]
    assert store.row("trade_operation")["outcome"] == "blocked"


def test_instances_share_the_payments_that_are_due(open_runner: OpenRunner) -> None:
    """While one instance is claiming, another claims others, and waits for nobody."""
    (ours, store), (other, _) = open_runner("pay"), open_runner("pay")
    ids = set()
    for number in range(7):
        command = OPEN.model_copy(update={"order_id": ORDER + number})
        ids.add(submit(ours, payments.open_payment, command).result(timeout=60).data.pay_id)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE trade_pay SET next_check = pay_id % 1000"))
    entered, leave = threading.Event(), threading.Event()
    claim = retries.claim_check
    first: Future[Any] = submit(ours, in_the_midst(claim, entered, leave), DueQuery(limit=3))
    assert entered.wait(timeout=60)
    second = submit(other, claim, DueQuery(limit=10)).result(timeout=60)
    leave.set()
    claimed = [due.pay_id for due in (*first.result(timeout=60), *second)]
    assert len(claimed) == len(ids)
    assert set(claimed) == ids


def meet(ours: Database, other: Database, early: Any, late: Any, schema: str) -> dict[str, Any]:
    """Run a step while another is in the midst; the answers, by the names of the steps."""
    entered, leave = threading.Event(), threading.Event()
    first: Future[Any] = submit(ours, in_the_midst(early[0], entered, leave), early[1])
    assert entered.wait(timeout=60)
    second = submit(other, *late)
    engine = create_engine(schema)
    with engine.connect() as connection:
        wait_until(lambda: waits(connection) or second.done(), "the second waits for a lock")
    engine.dispose()
    leave.set()
    return {early[0].name: first.result(timeout=60), late[0].name: second.result(timeout=60)}


def test_a_deduction_and_its_compensation_meet(open_runner: OpenRunner, schema: str) -> None:
    """Each may come first and be in the midst: nothing is taken in the end."""
    deduct = WRITING["user.deduct_balance"][1]
    (handler,) = [
        handle for event, handle in SERVICES["user"].handlers.items() if event is OrderCancelled
    ]
    (first, store), (other, _) = open_runner("user"), open_runner("user")
    for order_id, comes_first in ((1, deduct), (2, handler)):
        command = {deduct: _taking(order_id), handler: OrderCancelled(order_id=order_id)}
        early, late = (comes_first, deduct if comes_first is handler else handler)
        answers = meet(first, other, (early, command[early]), (late, command[late]), schema)
        deduction: Result[None] = answers[deduct.name]
        assert deduction.success is (comes_first is deduct)
    assert _balances(store) == [BALANCE, BALANCE]


def _taking(order_id: int) -> Any:
    return DeductBalance(order_id=order_id, user_id=1, money_paid=1_00)


def _balances(store: Store) -> list[int]:
    return [row["user_money"] for row in store.rows("trade_user")]


def test_a_key_is_not_bound_anew_while_its_order_is_being_saved(
    open_runner: OpenRunner, schema: str
) -> None:
    """The user asks again late, while the save of the first id has not committed: the same id."""
    (ours, store), (other, _) = open_runner("order"), open_runner("order")
    first = opened(ours)
    save = WRITING["order.save_pre_order"][1]
    pre = command_of("order.save_pre_order", store).model_copy(update={"order_id": first})
    late = in_the_midst(_late(store, orders.open_order), threading.Event(), _set())
    answers = meet(ours, other, (save, pre), (late, KEY), schema)
    assert answers[save.name].success
    assert answers[late.name].data.order_id == first


def test_a_refusal_waits_for_a_save_of_the_same_order(open_runner: OpenRunner, schema: str) -> None:
    """One key sent twice: what is saved is not refused for ever, what is refused is not saved."""
    (ours, store), (other, _) = open_runner("order"), open_runner("order")
    first = opened(ours)
    save = WRITING["order.save_pre_order"][1]
    pre = command_of("order.save_pre_order", store).model_copy(update={"order_id": first})
    no = RefuseOrder(order_id=first, code=int(Code.STOCK_SHORT), message="too few")
    answers = meet(ours, other, (save, pre), (orders.refuse_order, no), schema)
    assert answers[save.name].success
    assert answers["refuse_order"].name == "ORDER_UNDECIDED"


def opened(database: Database) -> int:
    """A new order id under the test's key."""
    answer: Result[Opening] = submit(database, orders.open_order, KEY).result(timeout=60)
    assert answer.data
    return int(answer.data.order_id)


def _late(store: Store, which: Any) -> Any:
    """A step as it runs when the deadline of all that is there is over."""
    after = int(store.settings.unconfirmed_deadline * 1000) + 60_000

    def run(tx: Transaction, command: Any) -> Any:
        return which(replace(tx, wall_ms=tx.wall_ms + after), command)

    return run


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_a_repetition_meets_the_forgetting_of_its_row(open_runner: OpenRunner, schema: str) -> None:
    """Whichever of the two is in the midst of it, the event is handled once."""
    (ours, store), (other, _) = open_runner("goods"), open_runner("goods")
    handle = inbox.guarded(return_stock, OrderCancelled)
    submit(ours, handle, delivery(5)).result(timeout=60)
    answers = meet(
        ours, other, (handle, delivery(5)), (forgetting.forget_handled, Gone("goods", [5])), schema
    )
    assert answers == {handle.name: None, "forget_handled": 1}
    submit(ours, handle, delivery(6)).result(timeout=60)
    with pytest.raises(MaybeForgotten):
        meet(
            ours,
            other,
            (forgetting.forget_handled, Gone("goods", [6])),
            (handle, delivery(6)),
            schema,
        )
    assert store.rows("trade_mq_consumer_log") == []
