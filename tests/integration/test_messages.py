"""Messages that come again, fail, are not ours, or changed on their way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaProducer

from labkit.lab import Lab
from labkit.ops import in_flight
from labkit.ops.reader import Reader
from labkit.shop.messages import OrderCancelled
from labkit.shop.wiring import SERVICES
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.storyline import placed

HANDLERS = {
    service.name: service.handlers[OrderCancelled].name
    for service in SERVICES.values()
    if OrderCancelled in service.handlers
}
# a client of the broker reads its own schemas in an old way
pytestmark = pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")
ALL = {"coupon": True, "money_paid": 1_00}
PARTITIONS = range(4)
GOOD = b'{"order_id": 5}'


@pytest.fixture(scope="module")
def running_lab(shared_quick_lab: Lab) -> Lab:
    return shared_quick_lab


@pytest.fixture
def produce(lab: Lab) -> Iterator[Callable[..., None]]:
    """Puts a record into every partition of `order_cancel`, past everything of the lab."""
    producer = KafkaProducer(
        bootstrap_servers=lab.home.state()["endpoints"]["broker"],
        acks="all",
        enable_idempotence=False,
    )

    def send(value: bytes | None, key: bytes | None = b"5", **headers: bytes) -> None:
        for partition in PARTITIONS:
            producer.send("order_cancel", value, key, list(headers.items()), partition)
        producer.flush()

    yield send
    producer.close()


def hits(lab: Lab, name: str) -> int:
    return next(point["hits"] for point in lab.faults.list() if point["name"] == name)


@pytest.mark.parametrize("service", HANDLERS)
def test_a_message_that_is_delivered_again_is_handled_once(
    lab: Lab, history: History, service: str
) -> None:
    """Its offset was not committed and the consumer died: the broker hands it out again."""
    handed_out = f"{service}.order_cancel.before_offset_commit"
    lab.faults.arm(handed_out, "crash")
    assert history.cancel(placed(history, **ALL).order_id).status_code == 200
    wait_until(lambda: hits(lab, handed_out) > 1, "the message is handed out twice")
    lab.settle()
    sql = "SELECT tries, status FROM trade_mq_consumer_log"
    assert history.tables.rows(service, sql) == [{"tries": 1, "status": 1}]


@pytest.mark.parametrize("service", HANDLERS)
def test_a_handler_that_fails_some_times_then_succeeds(
    lab: Lab, history: History, reader: Reader, service: str
) -> None:
    """It waits, is seen in `stuck` with its cause, is tried again on its own, and is done once."""
    answered = placed(history, **ALL)
    failing = f"{service}.{HANDLERS[service]}.before_commit"
    with lab.faults.armed(failing, "refuse", times=3):
        assert history.cancel(answered.order_id).status_code == 200
        stuck_items = wait_until(lambda: stuck(reader, failing), "it is seen as stuck")
        assert (stuck_items[0]["order"], stuck_items[0]["id"].partition(".")[0]) == (
            answered.order_id,
            service,
        )
        lab.settle()
    (row,) = history.tables.rows(service, "SELECT * FROM trade_mq_consumer_log")
    assert (row["status"], row["last_error"]) == (1, None)
    assert 2 <= row["tries"] <= 3  # one that was sent again meanwhile may meet a refusal, unheard


def stuck(reader: Reader, cause: str) -> list[dict[str, Any]]:
    return [item for item in in_flight.stuck(reader) if cause in (item["cause"] or "")]


FOREIGN: dict[str, dict[str, Any]] = {
    "no headers": {"value": GOOD},
    "no body": {"value": None, "event_id": b"7", "tag": b"cancelled"},
    "no key": {"value": GOOD, "key": None, "event_id": b"7", "tag": b"cancelled"},
    "no text": {"value": b"\xff\xfe", "event_id": b"7", "tag": b"cancelled"},
    "an event id that is no number": {"value": GOOD, "event_id": b"seven", "tag": b"cancelled"},
    "an event id beyond 64 bits": {"value": GOOD, "event_id": b"9" * 30, "tag": b"cancelled"},
    "a negative event id": {"value": GOOD, "event_id": b"-7", "tag": b"cancelled"},
    "an endless key": {"value": GOOD, "key": b"5" * 5000, "event_id": b"7", "tag": b"cancelled"},
    "an endless body": {"value": GOOD + b" " * 70_000, "event_id": b"7", "tag": b"cancelled"},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_is_not_ours_is_passed_over(
    lab: Lab, history: History, produce: Callable[..., None], foreign: str
) -> None:
    """A record that no outbox wrote changes nothing and holds up nobody, not even for a restart."""
    restarts = count_restarts(lab)
    produce(**FOREIGN[foreign])
    assert history.cancel(placed(history, **ALL).order_id).status_code == 200
    lab.settle()
    for service in HANDLERS:
        assert len(history.tables.rows(service, "SELECT * FROM trade_mq_consumer_log")) == 1
    assert count_restarts(lab) == restarts


def count_restarts(lab: Lab) -> int:
    """How often a consumer gave up and began anew, by the logs."""
    logs = [(lab.home.logs / f"{service}-1.log").read_text() for service in HANDLERS]
    return sum(log.count("made anew") for log in logs)


POISON = {
    "no JSON": b"{",
    "no object": b"[1]",
    "an order id that is no number": b'{"order_id": "x"}',
    "an order id beyond 64 bits": b'{"order_id": 99999999999999999999999}',
    "no order id, under any name": b'{"order": 5, "extra": 1}',
}


@pytest.mark.parametrize("poison", POISON)
def test_poison_dies_and_healthy_orders_go_on(
    lab: Lab, reader: Reader, produce: Callable[..., None], poison: str
) -> None:
    """It is given up after its tries, seen in `stuck` with its cause, and stops nobody."""
    history = History(lab.home.folder)
    produce(POISON[poison], event_id=b"7", tag=b"cancelled")
    wait_until(lambda: waiting(history, 7), "the poison waits for another try")
    assert history.cancel(placed(history, **ALL).order_id).status_code == 200
    lab.settle()  # dead is not in flight
    history.check()
    dead = [item for item in in_flight.stuck(reader) if "is dead" in item["what"]]
    assert {item["id"] for item in dead} == {f"{service}.7" for service in HANDLERS}
    assert all(item["cause"] and item["tries"] == 4 for item in dead)
    lab.reset()  # an event that nobody sent, and that is dead, rightly breaks two invariants


def waiting(history: History, event_id: int) -> bool:
    sql = "SELECT * FROM trade_mq_consumer_log WHERE event_id = :id"
    return all(history.tables.rows(service, sql, id=event_id) for service in HANDLERS)


def test_an_event_id_with_another_body_is_kept_out(
    lab: Lab, history: History, produce: Callable[..., None]
) -> None:
    """The same id comes again and names an order that stands: that order keeps all it has."""
    stands = placed(history, **ALL)
    assert history.cancel(placed(history, money_paid=1_00).order_id).status_code == 200
    lab.settle()
    before = history.tables.everything()
    (row,) = before["goods.trade_mq_consumer_log"]
    hits_before = hits(lab, "goods.order_cancel.after_offset_commit")
    changed = b'{"order_id": %d}' % (stands.order_id or 0)
    produce(
        changed,
        str(stands.order_id).encode(),
        event_id=str(row["event_id"]).encode(),
        tag=b"cancelled",
    )
    for service in HANDLERS:
        name = f"{service}.order_cancel.after_offset_commit"
        wait_until(
            lambda name=name: hits(lab, name) >= hits_before + len(PARTITIONS), "it was handed out"
        )
    lab.settle()
    for name, rows in before.items():
        if not name.endswith(("trade_mq_producer", "trade_mq_consumer_log")):
            assert history.tables.everything()[name] == rows
    assert row in history.tables.everything()["goods.trade_mq_consumer_log"]
