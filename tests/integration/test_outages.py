"""A part is away, hangs, or forgets everything: honest answers, and nothing is lost by it."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from labkit.lab import Lab
from labkit.ops import in_flight
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.ids import made_at_ms
from labkit.waiting import wait_until
from tests.support.history import Answered, History
from tests.support.storyline import placed

pytestmark = pytest.mark.slow

ALL = {"coupon": True, "money_paid": 7_00, "goods_number": 2}
CONFIRM = "order.confirm_pre_order.before_commit"


@pytest.fixture(scope="module")
def running_lab(shared_quick_lab: Lab) -> Lab:
    return shared_quick_lab


def find(lab: Lab, answered: Answered) -> httpx.Response:
    """Return the answer to a look-up of an order by its id."""
    return lab.client.find(answered.order_id or 0)


def test_the_broker_loses_all_it_holds_under_load(lab: Lab, history: History) -> None:
    """Killed three times with its memory, messages on their way: each arrives, once.

    A call that the fault held up for its whole time is told as 503, and its order is cancelled too.
    """
    lab.faults.arm(CONFIRM, "refuse", times=10**6)
    with history.buying(clients=4, money_paid=1, goods_number=2) as answered:
        for _ in range(3):
            so_far = len(answered)
            lab.faults.lose_broker()
            wait_until(
                lambda more=so_far + 20: len(answered) >= more, "orders go on without a broker"
            )
    names = Counter(answer.name for answer in answered)
    assert set(names) <= {"ORDER_CONFIRM_FAILED", "DEPENDENCY_AWAY"}
    assert names["ORDER_CONFIRM_FAILED"] >= names.total() / 2


@pytest.mark.parametrize("service", ["goods", "coupon", "user", "order"])
def test_a_part_that_is_away_is_told_as_503(lab: Lab, history: History, service: str) -> None:
    """Each request is answered in time with 503 and when to ask again; then all goes on."""
    with lab.faults.killed(service):
        answers = history.place_all([ALL] * 4, clients=4)
        assert [answer.status for answer in answers] == [503] * 4
        assert all(service in answer.message for answer in answers)
        response = lab.client.place(history.body(**ALL))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    lab.settle()
    assert placed(history, **ALL)


@pytest.mark.parametrize("service", ["goods", "coupon", "user"])
def test_a_part_that_goes_while_an_order_is_placed(
    lab: Lab, history: History, service: str
) -> None:
    """Checked and saved, then a step finds nobody: the order is decided and told at once."""
    last = {"goods": "find_goods", "coupon": "deduct_stock", "user": "use_coupon"}[service]
    with placing(lab, history, f"order.{last}.after_call") as late, lab.faults.killed(service):
        assert late.result().status == 503
        assert find(lab, late.result()).json()["data"]["order_status"] == 2


def test_the_order_service_goes_while_an_order_is_placed(lab: Lab, history: History) -> None:
    """The client is told 202 with the id; within 10 s of the return the order is decided."""
    with placing(lab, history, "order.deduct_stock.after_call") as late:
        with lab.faults.killed("order"):
            assert late.result().status == 202
            assert find(lab, late.result()).status_code == 503
        decision = wait_until(
            lambda: decided(lab, late.result()), "the order is decided", timeout=10
        )
        assert decision["order_status"] == 2


@contextmanager
def placing(lab: Lab, history: History, stop: str) -> Iterator["Future[Answered]"]:
    """An order that is held up at a failpoint for a moment, when the block begins."""
    lab.faults.arm(stop, "delay:2")
    with ThreadPoolExecutor() as pool:
        answered = pool.submit(history.place, **ALL)
        points = lab.faults.list
        wait_until(lambda: not any(point["armed"] for point in points()), f"the order is at {stop}")
        yield answered


def decided(lab: Lab, answered: Answered) -> dict[str, int] | None:
    response = find(lab, answered)
    return response.json()["data"] if response.status_code == 200 else None


@pytest.mark.parametrize("service", ["goods", "coupon", "user"])
def test_a_subscriber_that_was_down_gets_its_message(
    lab: Lab, history: History, reader: Reader, service: str
) -> None:
    """An order is cancelled while a subscriber is down: the message waits, seen, for its return."""
    answered = placed(history, **ALL)
    with lab.faults.killed(service):
        assert history.cancel(answered.order_id).status_code == 200
        stuck_items = wait_until(lambda: stuck(reader, service), "the message is seen as stuck")
        assert {change["order"] for change in stuck_items} == {answered.order_id}
    lab.settle()


def stuck(reader: Reader, cause: str) -> list[dict[str, str]]:
    return [item for item in in_flight.stuck(reader) if cause in (item["cause"] or "")]


def test_a_flow_that_is_paused_past_its_deadline(lab: Lab, history: History) -> None:
    """The order service stands still, orders in flight, for longer than an order may take."""
    with ThreadPoolExecutor() as pool:
        lab.faults.arm("order.deduct_stock.after_call", "delay:1", times=4)
        late = [pool.submit(history.place, **ALL) for _ in range(4)]
        sql = "SELECT order_id FROM trade_order"
        wait_until(lambda: len(history.tables.rows("order", sql)) == 4, "all are saved")
        with lab.faults.paused("order"):
            youngest = max(row["order_id"] for row in history.tables.rows("order", sql))
            wait_until(lambda: wall_ms() > made_at_ms(youngest) + 5000, "the deadline is over")
        answered = [future.result() for future in late]
    for answer in answered:
        wait_until(
            lambda answer=answer: find(lab, answer).status_code == 200,
            "it is decided",
            timeout=10,
        )


def test_a_part_that_hangs_is_not_waited_for(lab: Lab, history: History) -> None:
    """Goods service stands still for longer than a call may take: 503, and nothing is taken."""
    with lab.faults.paused("goods"):
        assert [answer.status for answer in history.place_all([ALL] * 4, clients=4)] == [503] * 4
    lab.settle()
    assert placed(history, **ALL)
