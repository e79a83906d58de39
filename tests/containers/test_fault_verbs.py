"""The faults of servers as verbs, on MySQL, Kafka and ZooKeeper: met, told honestly, and undone."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from docker import DockerClient

from labkit import cli
from labkit.faults import NotReached, Reach, list_standing
from labkit.faults.containers import Server
from labkit.lab import Lab
from labkit.runtime.db.tables import DEAD
from labkit.runtime.registry import zookeeper_session
from labkit.shop.wiring import SERVICES
from labkit.stack.containers import compose_file
from labkit.stack.containers.create import Maker
from labkit.waiting import wait_until
from tests.containers.conftest import OwnStack
from tests.support.containers.loading import ALL, cancel
from tests.support.containers.stacks import Backend
from tests.support.history import History
from tests.support.storyline import placed

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("servers")]


def met(history: History, reach: Reach) -> None:
    """Place orders until the fault was met and one is refused for that."""

    def refused() -> bool:
        return history.place(money_paid=1).status in (202, 503) and bool(reach.times)

    wait_until(refused, "the fault is met, and an order is told so", timeout=60)


def missed(history: History, reach: Reach) -> None:
    """Place orders, which goes on, until the fault was met."""

    def is_rule_there() -> bool:
        history.place(money_paid=1)
        return bool(reach.times)

    wait_until(is_rule_there, "the fault is met", timeout=60)


def tried_once(history: History) -> None:
    """No message is called poison, or burnt a try, because a server was away."""
    query = "SELECT tries, status FROM trade_mq_consumer_log"
    inboxes = [
        row
        for name, service in SERVICES.items()
        if service.handlers
        for row in history.tables.rows(name, query)
    ]
    assert inboxes, "no message was looked at"
    assert all(row["status"] != DEAD and row["tries"] <= 1 for row in inboxes)


@pytest.mark.parametrize("fault", ["away", "locked", "full"])
def test_the_database_of_one_service(lab: Lab, history: History, fault: str) -> None:
    """Orders are told 503, others' data are at hand, and what is to be given back waits for it."""
    mine = placed(history, **ALL)
    breaks: Callable[[str], AbstractContextManager[Reach]]
    breaks = getattr(lab.faults, f"database_{fault}")
    with breaks("goods") as reach:
        cancel(history, mine)
        met(history, reach)
    placed(history, coupon_id=2)
    lab.settle(30)
    tried_once(history)


def test_all_databases(lab: Lab, history: History) -> None:
    """Nobody is let in; then everybody is, and orders go on."""
    mine = placed(history, money_paid=1)
    with lab.faults.database_away() as reach:
        met(history, reach)
    cancel(history, mine)
    lab.settle(30)
    tried_once(history)


@pytest.mark.parametrize("fault", ["broker_away", "broker_paused", "registry_away"])
def test_the_broker_and_the_registry(lab: Lab, history: History, fault: str) -> None:
    """Orders are placed, and what they tell each other comes later."""
    mine = placed(history, **ALL)
    breaks: Callable[[], AbstractContextManager[Reach]] = getattr(lab.faults, fault)
    with breaks() as reach:
        missed(history, reach)
    cancel(history, mine)
    lab.settle(30)
    tried_once(history)


@pytest.mark.parametrize("fault", ["server_killed", "server_paused"])
def test_mysql_as_a_whole(lab: Lab, history: History, fault: str) -> None:
    """Killed or standing still: no order is placed, and afterwards all is as was answered."""
    mine = placed(history, money_paid=1)
    breaks: Callable[[str], AbstractContextManager[Reach]] = getattr(lab.faults, fault)
    with breaks("mysql") as reach:
        met(history, reach)
    cancel(history, mine)
    lab.settle(30)
    tried_once(history)


def test_a_slow_server(lab: Lab, history: History) -> None:
    """MySQL waits for its CPU; orders are placed or told 202 or 503, and none is lost."""
    with lab.faults.server_slow("mysql", 5) as reach:
        assert [row["fault"] for row in list_standing(lab.home)] == ["server_slow mysql 5"]
        missed(history, reach)
    lab.settle(30)


def test_a_network_that_is_not_its_own_is_not_cut(lab: Lab, history: History) -> None:
    """These servers listen on this machine's own loopback: one line says what there is instead."""
    with pytest.raises(ValueError, match="this machine's own network") as error:
        lab.faults.server_cut("kafka").__enter__()
    assert "\n" not in str(error.value)
    placed(history)


def test_a_network_of_its_own_is_cut(docker: DockerClient, own_stack: OwnStack) -> None:
    """Nobody reaches the server meanwhile; afterwards it has its address and its name again."""
    settings = own_stack().model_copy(update={"containers_network": ""})
    described = compose_file.read(settings).services["zookeeper"]
    maker = Maker(docker, settings.containers_name, host_network=False)
    maker.prepare({"zookeeper": described})
    maker.make("zookeeper", described).start()
    server = Server(docker, settings.containers_name, "zookeeper")
    host, _, port = server.address.rpartition(":")

    def serves() -> bool:
        return zookeeper_session.serves(host, int(port))

    wait_until(serves, "it serves", timeout=60)
    networks = server.networks
    server.leave(networks)
    assert not serves()
    for _ in range(2):  # who finds its note may do that again
        server.join(networks)
    wait_until(serves, "it serves again", timeout=60)
    (network,) = server.container.attrs["NetworkSettings"]["Networks"].values()
    assert "zookeeper" in network["Aliases"]


def test_nobody_needed_it(lab: Lab, history: History) -> None:
    """A lock that nobody met proves nothing, and is gone."""
    with pytest.raises(NotReached), lab.faults.database_locked("log"):
        placed(history)
    history.pay(placed(history).order_id)


@pytest.mark.parametrize("fault", ["database_away", "server_paused"])
def test_a_tool_says_which_database_is_away(
    lab: Lab, history: History, mysql: Backend, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """`labkit stuck`, `check` and `settle`: one line, soon, though the server may stand still."""
    placed(history)
    breaks: Callable[[str], AbstractContextManager[Reach]] = getattr(lab.faults, fault)
    with breaks("order" if fault == "database_away" else mysql.name) as reach:
        wait_until(lambda: reach.times, "a service misses its database", timeout=30)
        for word in ("stuck", "check", "settle"):
            monkeypatch.setattr(sys, "argv", ["labkit", word, "--home", str(lab.home.folder)])
            with pytest.raises(SystemExit) as error:
                cli.main()
            message = str(error.value)
            assert message.startswith("labkit: the database of order does not answer (")
            assert "start its server, or wait" in message
            assert "\n" not in message
