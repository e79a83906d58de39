"""Steps that come too late, lose a race, or whose answer is lost: nothing is taken or minted."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.results import Message, Result
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.connection import connect_with
from labkit.shop.messages import DeductBalance, DeductStock, UseCoupon
from labkit.shop.wiring import SERVICES
from labkit.waiting import wait_until
from tests.support.comparison import CANCELLED
from tests.support.history import Answered, History
from tests.support.storyline import placed

pytestmark = pytest.mark.slow

LATE = {"goods": "deduct_stock", "coupon": "use_coupon", "user": "deduct_balance"}
WANTED = {"goods_number": 3, "coupon": True, "money_paid": 7_00}
# whose rule is broken → the call whose answer grows old, who comes between, who comes too late
RACES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "goods": ("find_goods", {"goods_number": 999}, WANTED, "STOCK_SHORT"),
    "coupon": ("find_coupon", {"coupon": True}, WANTED, "COUPON_ALREADY_USED"),
    "user": ("find_user", {"money_paid": 900_00}, WANTED, "MONEY_MORE_THAN_BALANCE"),
}


@pytest.fixture(scope="module")
def running_lab(shared_quick_lab: Lab) -> Lab:
    return shared_quick_lab


def outcome(history: History, service: str, order_id: int | None) -> str | None:
    """How the operation of an order ended in a service; None where it never came there."""
    sql = "SELECT outcome FROM trade_operation WHERE order_id = :id AND operation = :name"
    rows = history.tables.rows(service, sql, id=order_id, name=LATE[service])
    return rows[0]["outcome"] if rows else None


def call(lab: Lab, service: str, command: Message) -> Result[None]:
    """Deliver a call that the network held back."""

    async def deliver() -> Result[None]:
        registry, connect = FolderRegistry(lab.home.registry), connect_with(lab.home.secret)
        calls = Calls("late", registry, connect, None, 10)
        try:
            stub: Any = calls.stub(SERVICES[service].contract, service)
            return await getattr(stub, LATE[service])(command)
        finally:
            await calls.close()

    return asyncio.run(deliver())


@pytest.mark.parametrize("service", LATE)
def test_a_step_that_comes_after_its_compensation_is_refused(
    lab: Lab, history: History, service: str
) -> None:
    """The compensation came first and blocks its step: nothing is taken (docs/hazards.md, 2)."""
    with lab.faults.armed(f"order.{LATE[service]}.before_call", "refuse"):
        answered = history.place(**WANTED)
    assert answered.status == 503
    lab.settle()
    assert outcome(history, service, answered.order_id) == "blocked"
    before, body, order_id = history.tables.everything(), answered.body, answered.order_id
    late: dict[str, Message] = {
        "goods": DeductStock(order_id=order_id, goods_id=body["goods_id"], goods_number=3),
        "coupon": UseCoupon(
            order_id=order_id,
            coupon_id=body["coupon_id"],
            user_id=body["user_id"],
            coupon_price=20_00,
        ),
        "user": DeductBalance(order_id=order_id, user_id=body["user_id"], money_paid=7_00),
    }
    assert call(lab, service, late[service]).name == "ORDER_CANCELLED"
    assert history.tables.everything() == before


@pytest.mark.parametrize("service", LATE)
def test_a_step_that_outlasts_its_call_is_undone(lab: Lab, history: History, service: str) -> None:
    """A step commits and its answer is late: the order is cancelled, and all is given back."""
    with lab.faults.armed(f"{service}.{LATE[service]}.after_commit", "delay:2.5"):
        answered = history.place(**WANTED)
    assert answered.status == 503
    lab.settle()
    assert outcome(history, service, answered.order_id) == "undone"


@pytest.mark.parametrize("service", LATE)
def test_a_step_that_hangs_is_overtaken_and_refused(
    lab: Lab, history: History, service: str
) -> None:
    """A step hangs before its commit, and the order is cancelled meanwhile: when it comes at last
    it finds itself blocked, and takes nothing (a hanging step, 悬挂)."""
    commit = f"{service}.{LATE[service]}.before_commit"
    with lab.faults.armed(commit, "delay:2.5"):
        answered = history.place(**WANTED)
        lab.until(lambda: outcome(history, service, answered.order_id) == "blocked")
        come = lab.faults.hits(commit)
        lab.until(lambda: lab.faults.hits(commit) > come)
    assert answered.status == 503
    lab.settle()
    assert outcome(history, service, answered.order_id) == "blocked"


@pytest.mark.parametrize("service", RACES)
def test_who_loses_a_race_gets_nothing_and_leaves_nothing(
    lab: Lab, history: History, service: str
) -> None:
    """Checked, then overtaken: the step is refused, and its compensation mints nothing."""
    query, between, late, refusal = RACES[service]
    stop = f"order.{query}.after_call"
    lab.faults.arm(stop, "delay:2.5")
    with ThreadPoolExecutor() as pool:
        loser = pool.submit(history.place, **late)
        wait_until(lambda: not point(lab, stop)["armed"], "the late order has been checked")
        assert placed(history, **between)
    assert (loser.result().status, loser.result().name) == (422, refusal)
    lab.settle()
    assert outcome(history, service, loser.result().order_id) == "refused"


@pytest.mark.parametrize("service", LATE)
def test_a_lost_answer_is_no_failure_and_no_success(
    lab: Lab, history: History, service: str
) -> None:
    """The step was done and its answer lost: the order is cancelled, the step undone."""
    with lab.faults.armed(f"order.{LATE[service]}.after_call", "refuse"):
        answered = history.place(**WANTED)
    assert answered.status == 503
    lab.settle()
    assert outcome(history, service, answered.order_id) == "undone"


def test_a_lost_answer_of_the_order_service_is_asked_for(lab: Lab, history: History) -> None:
    """The order is placed and nobody hears it: 202 with its id, which is then found."""
    with lab.faults.armed("order-web.confirm_order.after_call", "refuse"):
        answered = history.place(**WANTED, key="k")
    assert answered.status == 202
    assert lab.client.find(answered.order_id or 0).status_code == 200
    again = history.send(answered.body, key="k")
    assert (again.status, again.order_id) == (200, answered.order_id)


@pytest.mark.parametrize(
    ("hangs", "goes_on"),
    [
        ("deduct_stock.after_call", "use_coupon.after_call"),
        ("deduct_balance.after_call", "confirm_pre_order.after_commit"),
    ],
)
def test_a_flow_that_outlives_its_deadline_loses(
    lab: Lab, history: History, hangs: str, goes_on: str
) -> None:
    """The sweeper cancels an order whose flow hangs; what the flow does later comes to nothing."""
    with lab.faults.armed(f"order.{hangs}", "delay:6"):
        answered = history.place(**WANTED, key="k")
        assert answered.status == 202
        decision = wait_until(lambda: decided(lab, answered), "the sweeper has cancelled it")
        assert decision["order_status"] == CANCELLED
        lab.settle()
        assert outcome(history, "goods", answered.order_id) == "undone"
        assert not point(lab, f"order.{goes_on}")["hits"]
        before = history.tables.rows("user", "SELECT * FROM trade_user")
        wait_until(lambda: point(lab, f"order.{goes_on}")["hits"], "the flow goes on")
    lab.settle()
    assert history.tables.rows("user", "SELECT * FROM trade_user") == before
    again = history.send(answered.body, key="k")
    assert (again.status, again.name) == (422, "ORDER_CANCELLED")


def decided(lab: Lab, answered: Answered) -> dict[str, Any] | None:
    """An order as its user sees it, when it is decided."""
    response = lab.client.find(answered.order_id or 0)
    return response.json()["data"] if response.status_code == 200 else None


def point(lab: Lab, name: str) -> dict[str, Any]:
    """Return what is known of a failpoint."""
    return next(row for row in lab.faults.list() if row["name"] == name)
