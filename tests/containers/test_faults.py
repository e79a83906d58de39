"""Each of a lab's three servers is killed and stands still under load, and no acknowledged order is
lost, doubled, or short of its stock, coupon or balance."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from bench.ground import Ground
from bench.recovery import recover
from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.containers.loading import ALL, cancel, goes_on, load
from tests.support.containers.stacks import Backend
from tests.support.history import Answered, History
from tests.support.storyline import placed

pytestmark = pytest.mark.timeout(900)

#: Longer than any client waits: pymysql 5 s, kafka-python 4 s, a session of ZooKeeper 4 s.
LONG_SECONDS = 6.0


@contextmanager
def killed(server: Backend) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def paused(server: Backend) -> Iterator[None]:
    server.pause()
    began = time.monotonic()
    yield
    wait_until(lambda: time.monotonic() - began > LONG_SECONDS, "every client has waited in vain")
    server.unpause()


def without_mysql(history: History, _mine: Answered) -> None:
    """No order is placed."""
    wait_until(lambda: history.place().status in (202, 503), "an order is refused", timeout=30)


def without_kafka(history: History, mine: Answered) -> None:
    """Orders are placed, and what they tell each other waits where it was committed."""
    placed(history)
    cancel(history, mine)
    failed = "SELECT * FROM trade_mq_producer WHERE status = 0 AND last_error IS NOT NULL"
    wait_until(
        lambda: history.tables.rows("order", failed), "a message could not be sent", timeout=30
    )


def without_zookeeper(history: History, _mine: Answered) -> None:
    """Orders are placed as long as there are ids."""
    wait_until(lambda: "NothingReserved" in history.place().message, "there are no ids", timeout=30)


@pytest.mark.parametrize("gone", [killed, paused])
@pytest.mark.parametrize(
    ("name", "is_missed"),
    [("mysql", without_mysql), ("kafka", without_kafka), ("zookeeper", without_zookeeper)],
)
def test_a_server_goes_under_load(
    history: History,
    servers: dict[str, Backend],
    name: str,
    is_missed: Callable[[History, Answered], None],
    gone: Callable[[Backend], AbstractContextManager[None]],
) -> None:
    """Kill −9, or a standstill that outlasts every client: the lab misses it and says so, and when
    it is back orders are placed, cancelled and paid as before."""
    mine = placed(history, **ALL)
    with load(history) as ordered:
        with gone(servers[name]):
            is_missed(history, mine)
        goes_on(ordered)
        cancel(history, placed(history, money_paid=1))
    history.pay(placed(history).order_id)


@pytest.mark.parametrize("name", ["mysql", "kafka"])
def test_what_a_kill_under_load_costs(lab: Lab, servers: dict[str, Backend], name: str) -> None:
    """No acknowledged order is lost; how soon all is served again is printed."""
    recoveries = recover(Ground(lab.home), servers[name], rate=20)
    print(name, recoveries)
    assert recoveries.lost == 0
