"""A lab that forgets: its settled messages go, killed anywhere, and a repetition does nothing."""

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from labkit.lab import Lab
from labkit.shop.tables import TABLES
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.storyline import placed, quick_lab

# a client of the broker reads its own schemas in an old way
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning"),
]
PARTITIONS = range(4)
GROUPS = ("order", "goods", "coupon", "user", "pay")
KILLS = ("order.forget_settled", "goods.forget_handled")


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("forgetful") / "home"
    with quick_lab(home, LABKIT_MESSAGE_RETENTION="1") as lab:
        yield lab


def kept(history: History) -> dict[str, int]:
    """The number of messages that each service keeps, in and out."""
    tables = ("trade_mq_producer", "trade_mq_consumer_log")
    return {
        f"{service}.{table}": history.tables.rows(service, f"SELECT count(*) AS n FROM {table}")[0][
            "n"
        ]
        for service in TABLES
        for table in tables
    }


def wait_until_forgotten(history: History) -> None:
    wait_until(lambda: not any(kept(history).values()), "all messages are forgotten", timeout=120)


def cancelled(history: History) -> int:
    """An order that took something of everything, and was cancelled."""
    order = placed(history, coupon=True, money_paid=1_00)
    assert history.cancel(order.order_id).status_code == 200
    return int(order.order_id)


@pytest.mark.parametrize("boundary", ["before_commit", "after_commit"])
@pytest.mark.parametrize("step", KILLS)
def test_whoever_is_killed_all_is_forgotten_in_the_end(
    lab: Lab, history: History, step: str, boundary: str
) -> None:
    """Nothing of it is lost or done twice: every invariant holds after each test."""
    lab.faults.arm(f"{step}.{boundary}", "crash")
    cancelled(history)
    lab.settle()
    wait_until_forgotten(history)
    assert not [
        point for point in lab.faults.list() if point["name"].startswith(step) and point["armed"]
    ]
    said = history.tables.rows("order", "SELECT messages FROM trade_mq_forgotten")
    assert [row["messages"] for row in said] == [1, 1]


def test_a_message_from_before_does_nothing(lab: Lab, history: History) -> None:
    """The broker hands out, once more, what no service has a row for."""
    order_id = cancelled(history)
    (event,) = history.tables.rows("order", "SELECT event_id, tag FROM trade_mq_producer")
    wait_until_forgotten(history)
    before = history.tables.rows("goods", "SELECT * FROM trade_goods_number_log")
    headers = [("event_id", str(event["event_id"]).encode()), ("tag", event["tag"].encode())]
    producer = KafkaProducer(bootstrap_servers=lab.home.state()["endpoints"]["broker"], acks="all")
    body = f'{{"order_id":{order_id}}}'.encode()
    for partition in PARTITIONS:
        producer.send("order_cancel", body, str(order_id).encode(), headers, partition)
    producer.flush()
    producer.close()
    cancelled(history)  # which is handled behind it
    lab.settle()
    wait_until_forgotten(history)
    after = history.tables.rows("goods", "SELECT * FROM trade_goods_number_log")
    assert [row for row in after if row["order_id"] in (0, order_id)] == before
    for group in GROUPS:
        said = history.tables.rows(
            group, "SELECT messages FROM trade_mq_forgotten WHERE part = 'inbox'"
        )
        assert [row["messages"] for row in said] == [2]
