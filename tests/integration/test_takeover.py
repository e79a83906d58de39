"""The others take over what an instance leaves behind, dead or standing still, once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from labkit.lab import Lab
from labkit.runtime.clock import wall_ms
from labkit.runtime.injection.failpoints import hits_of
from labkit.runtime.wiring import failpoints_of
from labkit.shop.wiring import SERVICES
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.storyline import FAIL, quick_lab

pytestmark = pytest.mark.slow

TIMES = {
    "LABKIT_GROUP_SESSION": "1.5",
    "LABKIT_OUTBOX_LEASE": "1",
    "LABKIT_WORKER_RESERVE": "0.5",
    "LABKIT_RETRY_MAX": "0.5",
    "LABKIT_RETRY_LIMIT": "1000",
}
ALL = {"coupon": True, "money_paid": 7_00}
INBOX = "SELECT status FROM trade_mq_consumer_log"
IDS = """SELECT order_id AS id FROM trade_order_request
         UNION ALL SELECT event_id FROM trade_mq_producer"""


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **TIMES) as lab:
        lab.scale(order=2, goods=2)
        yield lab


@pytest.mark.embedded
def test_worker_numbers_stay_apart(lab: Lab, history: History) -> None:
    """An instance stands still for longer than any lease, others start, it wakes up: no id twice.

    Each process holds a worker number of its own all the while, the one that stands still too.
    """
    lab.faults.arm(FAIL, "refuse", times=10**6)  # each order makes an event, with an id too
    history.place_all([{}] * 20, clients=4)
    lab.settle()
    with lab.faults.paused("order-2"), history.buying(clients=4):
        began, earlier = wall_ms(), workers(lab)
        lab.scale(order=4)
        wait_until(lambda: wall_ms() > began + 2000, "every lease is over")
        assert workers(lab).items() > earlier.items()
    history.place_all([{}] * 40, clients=4)
    assert workers(lab).items() > earlier.items()
    lab.scale(order=2)
    lab.settle()
    made = [row["id"] for row in history.tables.rows("order", IDS)]
    assert len(made) > 40
    assert len(made) == len(set(made))
    logs = [file.read_text(errors="replace") for file in lab.home.logs.glob("order-*.log")]
    assert not any("UNIQUE" in text for text in logs)


def workers(lab: Lab) -> dict[int, str]:
    """Worker number → process, by the lock files that each process holds open."""
    owners: dict[int, str] = {}
    for process in launch.status(lab.home)["services"]:
        files = psutil.Process(process["pid"]).open_files() if process["pid"] else []
        for lock in (Path(file.path) for file in files if "/workers/" in file.path):
            name = f"{process['name']}-{process['instance']}"
            assert owners.setdefault(int(lock.stem), name) == name, "two hold one worker number"
    return owners


@contextmanager
def only(lab: Lab, process: str, other: str) -> Iterator[Callable[[], None]]:
    """One of two is up alone for a block; then the roles are changed with what is handed out."""
    with ExitStack() as down:
        down.enter_context(lab.faults.killed(other))
        with ExitStack() as first:
            first.push(down.pop_all())

            def change() -> None:
                down.enter_context(lab.faults.killed(process))
                first.close()

            yield change


def test_rows_that_a_dead_instance_did_not_send(lab: Lab, history: History) -> None:
    """It dies after the commit and before the send, and stays down: the other sends them."""
    with only(lab, "order-1", "order-2") as change:
        lab.faults.arm(FAIL, "refuse")
        lab.faults.arm("order.order_cancel.before_send", "delay:60")
        assert history.place(**ALL).name == "ORDER_CONFIRM_FAILED"
        wait_until(
            lambda: crossed(lab, "order-1", "order.order_cancel.before_send"), "it is to be sent"
        )
        change()
        assert not crossed(lab, "order-2", "order.order_cancel.before_send")
        lab.settle()
        assert crossed(lab, "order-2", "order.order_cancel.before_send")


def test_rows_that_a_dead_instance_would_try_again(lab: Lab, history: History) -> None:
    """Its handler failed, then it dies and stays down: the other tries the kept message again."""
    with only(lab, "goods-1", "goods-2") as change:
        lab.faults.arm("goods.return_stock.before_commit", "refuse", times=10**6)
        lab.faults.arm(FAIL, "refuse")
        assert history.place(**ALL).name == "ORDER_CONFIRM_FAILED"
        wait_until(lambda: kept(history), "the message is kept")
        change()
        lab.faults.disarm()
        lab.settle()
        assert crossed(lab, "goods-2", "goods.return_stock.after_commit")


def test_a_group_shares_its_partitions(lab: Lab, history: History) -> None:
    """Both instances consume; one leaves, and the other gets what would have been its."""
    lab.faults.arm(FAIL, "refuse", times=10**6)
    handled = "goods.order_cancel.after_offset_commit"
    with history.buying(clients=4, money_paid=1) as answers:
        wait_until(lambda: crossed(lab, "goods-1", handled), "the first consumes")
        wait_until(lambda: crossed(lab, "goods-2", handled), "the second consumes")
        lab.scale(goods=1)
        so_far = len(answers)
        wait_until(lambda: len(answers) > so_far + 30, "messages go to every partition")
        crossings = crossed(lab, "goods-2", handled)
    lab.settle()
    assert crossed(lab, "goods-2", handled) == crossings
    lab.scale(goods=2)


def crossed(lab: Lab, process: str, name: str) -> int:
    """How often one instance crossed a failpoint."""
    names = [point.name for point in failpoints_of(SERVICES[process.rpartition("-")[0]])]
    return hits_of(lab.home.faults, process, len(names)).read(names.index(name))


def kept(history: History) -> bool:
    return [row["status"] for row in history.tables.rows("goods", INBOX)] == [0]
