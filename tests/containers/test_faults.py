"""A lab on three servers: each is killed, stands still, or forgets, and no acknowledged order is
lost, doubled, or short of its stock, coupon or balance."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count

import pytest
from kafka import KafkaConsumer, TopicPartition
from sqlalchemy import make_url

from labkit.bench.ground import Ground
from labkit.bench.recovery import recover
from labkit.home import write_whole
from labkit.lab import Lab
from labkit.settings import Settings
from labkit.stack.messaging import ground_of
from tests.containers.cable import Cable
from tests.containers.stacks import Backend, environment
from tests.history import Answered, History
from tests.telling import placed, quick_lab
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)

CLIENTS = 3
ALL = {"coupon": True, "money_paid": 1_00}
#: Longer than any client waits: pymysql 5 s, kafka-python 4 s, a session of ZooKeeper 4 s.
LONG_SECONDS = 6.0
PATIENT = {
    "LABKIT_CALL_TIMEOUT": "2",
    "LABKIT_FLOW_TIMEOUT": "5",
    "LABKIT_UNCONFIRMED_DEADLINE": "7",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, stack: Settings) -> Iterator[Lab]:
    """A lab on the run's stack, patient with a busy machine; ids run out soon after ZooKeeper."""
    settings = environment(stack) | PATIENT | {"LABKIT_WORKER_RESERVE": "1.5"}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **settings) as lab:
        yield lab


@pytest.fixture
def history(servers: dict[str, Backend], lab: Lab) -> Iterator[History]:
    """Remembers the answers; afterwards all must settle, and be as the answers say."""
    assert servers
    lab.reset(stock=100_000, balance=10**9, coupons=20_000)
    history = History(lab.home.folder)
    yield history
    lab.settle(timeout=90)
    told = history.check()
    assert set(told) <= {200, 202, 503}, "while a server is away the answer says so, and no more"
    checks = lab.check()
    assert set(checks["held"]) == {"yes"}, checks[checks["held"] != "yes"].to_string()


@contextmanager
def load(history: History) -> Iterator[Callable[[], int]]:
    """Clients whose orders each take stock, balance and a coupon of their own, for a block.

    The block is handed what counts the orders that were placed so far.
    """

    def ordered() -> int:
        return sum(one.placed for one in answers)

    with history.buying(CLIENTS, money_paid=1, coupon_id=count(2)) as answers:
        until(lambda: ordered() > 10, "orders are being placed", seconds=30)
        yield ordered


def goes_on(ordered: Callable[[], int]) -> None:
    """Wait until the load has placed some more."""
    so_far = ordered()
    until(lambda: ordered() > so_far + 10, "orders are placed again", seconds=30)


def cancel(history: History, mine: Answered) -> None:
    """Cancel an order, as soon as that goes; a message tells who took something for it."""
    until(lambda: history.cancel(mine.order_id).status_code == 200, "it is cancelled", seconds=30)


def acknowledged(history: History) -> None:
    """Wait until Kafka has all messages of the order service."""
    unsent = "SELECT * FROM trade_mq_producer WHERE status = 0"
    until(lambda: not history.tables.rows("order", unsent), "all is acknowledged", seconds=30)


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
    until(lambda: time.monotonic() - began > LONG_SECONDS, "every client has waited in vain")
    server.unpause()


def without_mysql(history: History, _mine: Answered) -> None:
    """No order is placed."""
    until(lambda: history.place().status in (202, 503), "an order is refused", seconds=30)


def without_kafka(history: History, mine: Answered) -> None:
    """Orders are placed, and what they tell each other waits where it was committed."""
    placed(history)
    cancel(history, mine)
    failed = "SELECT * FROM trade_mq_producer WHERE status = 0 AND last_error IS NOT NULL"
    until(lambda: history.tables.rows("order", failed), "a message could not be sent", seconds=30)


def without_zookeeper(history: History, _mine: Answered) -> None:
    """Orders are placed as long as there are ids."""
    until(lambda: "NothingReserved" in history.place().message, "there are no ids", seconds=30)


@pytest.mark.parametrize("gone", [killed, paused])
@pytest.mark.parametrize(
    ("name", "is_missed"),
    [("mysql", without_mysql), ("kafka", without_kafka), ("zookeeper", without_zookeeper)],
)
def test_a_server_goes_under_load(
    history: History, servers: dict[str, Backend], name: str,
    is_missed: Callable[[History, Answered], None],
    gone: Callable[[Backend], AbstractContextManager[None]],
) -> None:  # fmt: skip
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
    found = recover(Ground(lab.home), servers[name], rate=20)
    print(name, found)
    assert found.lost == 0


def ends(lab: Lab, topic: str) -> dict[int, int]:
    """Partition → how many records of a topic Kafka says it was given."""
    ground = ground_of(lab.home)
    client = KafkaConsumer(**ground.common)
    parts = [TopicPartition(ground.prefix + topic, one) for one in range(ground.partitions)]
    try:
        return {part.partition: end for part, end in client.end_offsets(parts).items()}
    finally:
        client.close()


CUT = """
for log in "$0/$1"*/*.log; do
    truncate -s $(( $(stat -c %s "$log") / 2 )) "$log"
done
"""


def test_kafka_loses_the_end_of_its_log(
    lab: Lab, history: History, servers: dict[str, Backend]
) -> None:
    """It had acknowledged messages, and goes back to before them, as a machine does that lost
    power: they come again from where they were committed."""
    kafka, prefix = servers["kafka"], ground_of(lab.home).prefix
    mine = [placed(history, money_paid=1) for _ in range(12)]
    with ExitStack() as still, load(history) as ordered:
        still.enter_context(lab.faults.paused("goods"))  # it takes nothing before the end is gone
        for one in mine:
            cancel(history, one)
        acknowledged(history)
        with lab.faults.paused("order"):  # and nothing new comes
            before = ends(lab, "order_cancel")
            kafka.kill()
            kafka.run_beside(CUT, prefix)
            kafka.start()
            after = until(lambda: ends(lab, "order_cancel"), "Kafka answers")
        still.close()
        goes_on(ordered)
        cancel(history, placed(history, money_paid=1))
    print("records of order_cancel, by partition:", before, "and then", after)
    assert sum(after.values()) < sum(before.values())


def test_kafka_forgets_all_it_holds(lab: Lab, history: History) -> None:
    """Records that were acknowledged are deleted at the broker, the newest too, under load."""
    with load(history) as ordered:
        for _ in range(2):
            cancel(history, placed(history, money_paid=1))
            acknowledged(history)
            assert lab.faults.lose_broker() > 0
            goes_on(ordered)


@contextmanager
def on_a_cable(lab: Lab, service: str, server: Backend) -> Iterator[Cable]:
    """Have one service reach its database over a cable of its own, for a block."""
    cable, known = Cable(server.address), lab.home.schemas_file.read_text()
    url = make_url(lab.home.database_url(service))
    write_whole(
        lab.home.schemas_file,
        known.replace(f"{url.port}/{url.database}", f"{cable.port}/{url.database}"),
    )
    lab.faults.kill(service)
    until(lambda: cable.taken, f"{service} is on the cable")
    try:
        yield cable
    finally:
        cable.join()
        write_whole(lab.home.schemas_file, known)
        lab.faults.kill(service)
        cable.close()


def test_a_service_is_parted_from_its_database(
    lab: Lab, history: History, servers: dict[str, Backend]
) -> None:
    """Nothing passes between the coupon service and its schema: orders with a coupon are told 503
    in time, those without are placed, and a coupon that is to come back comes when they meet."""
    mine, wanted = placed(history, **ALL), {"coupon_id": 2}
    with on_a_cable(lab, "coupon", servers["mysql"]) as cable:
        placed(history, **wanted)
        cable.part()
        with history.buying(2, money_paid=1) as answers:
            until(lambda: history.place(coupon_id=3).status == 503, "a coupon is refused")
            cancel(history, mine)
            so_far = len(answers)
            until(lambda: len(answers) > so_far + 10, "others go on")
            assert cable.held > 0
            assert {one.status for one in history.place_all([{"coupon_id": 4}] * 2, 2)} <= {
                202,
                503,
            }
            cable.join()
            placed(history, coupon_id=5)
        assert sum(one.placed for one in answers) > 10
        lab.settle(timeout=60)
