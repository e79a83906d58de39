"""The whole lab on ZooKeeper: it finds its services there, and goes on when ZooKeeper does not."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from labkit.lab import Lab
from labkit.stack import launch
from tests.history import Answered, History
from tests.telling import FAIL, placed, quick_lab
from tests.waiting import until
from tests.zookeeperd import Server

#: So that ids run out soon after ZooKeeper does.
RESERVE = "1.5"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, zookeeper: Server) -> Iterator[Lab]:
    settings = {"LABKIT_ZOOKEEPER": zookeeper.address, "LABKIT_WORKER_RESERVE": RESERVE}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **settings) as lab:
        lab.scale(goods=2)
        yield lab


@pytest.fixture
def history(lab: Lab) -> Iterator[History]:
    """Remembers the answers; afterwards all must settle, and be as the answers say."""
    lab.reset(stock=100_000, balance=10**9, coupons=300)
    history = History(lab.home.folder)
    yield history
    lab.settle(timeout=60)
    history.check()
    checks = lab.check()
    assert set(checks["held"]) == {"yes"}, checks[checks["held"] != "yes"].to_string()


@pytest.fixture
def tree(lab: Lab, zookeeper: Server) -> Iterator[KazooClient]:
    """A client that looks at the lab's tree, as a person would."""
    client = KazooClient(f"{zookeeper.address}/labkit/{lab.home.mark}", timeout=30)
    client.start()
    yield client
    client.stop()
    client.close()


def pids_of(tree: KazooClient, service: str) -> dict[str, int]:
    """Instance → process id, as the tree says."""
    path, found = f"/instances/{service}", {}
    for instance in tree.get_children(path):
        with suppress(NoNodeError):  # it went meanwhile
            found[instance] = json.loads(tree.get(f"{path}/{instance}")[0])["pid"]
    return found


def pids_by_status(lab: Lab, service: str) -> dict[str, int]:
    found = launch.status(lab.home)["services"]
    return {str(one["instance"]): one["pid"] for one in found if one["name"] == service}


def refused_for_want_of_ids(answered: Answered) -> bool:
    return answered.status == 503 and "NothingReserved" in answered.message


def test_every_way_of_an_order(
    lab: Lab, history: History, tree: KazooClient, zookeeper: Server
) -> None:
    """Placed and paid; failing at confirm; cancelled; returned: found through ZooKeeper alone."""
    assert launch.status(lab.home)["endpoints"]["registry"] == zookeeper.address
    until(lambda: pids_of(tree, "goods") == pids_by_status(lab, "goods"), "both are in the tree")
    paid = placed(history, coupon=True, money_paid=1_00)
    history.pay(paid.order_id)
    with lab.faults.armed(FAIL, "refuse"):
        assert history.place(money_paid=2_00).refused
    cancelled, returned = placed(history, money_paid=3_00), placed(history, money_paid=4_00)
    history.cancel(cancelled.order_id)
    history.pay(returned.order_id)
    lab.settle()
    history.give_back(returned.order_id)
    lab.settle(timeout=60)
    assert sorted(lab.tables("trade_order")["order_status"]) == [
        "1 confirmed", "2 cancelled", "2 cancelled", "4 returned",
    ]  # fmt: skip


def test_a_killed_instance_leaves_the_tree_and_comes_back(
    lab: Lab, history: History, tree: KazooClient
) -> None:
    """Held down after kill −9 it is gone with its session, and orders go on with the other."""
    both = until(lambda: pids_of(tree, "goods"), "the goods services are there")
    with history.buying(clients=2, money_paid=1):
        with lab.faults.killed("goods-2"):
            until(lambda: list(pids_of(tree, "goods")) == ["1"], "it is gone from the tree")
            placed(history, money_paid=1)
        until(lambda: set(pids_of(tree, "goods")) == set(both), "it is back in the tree")


@pytest.mark.parametrize(("go", "come"), [("kill", "start"), ("pause", "unpause")])
def test_zookeeper_goes_under_load(history: History, zookeeper: Server, go: str, come: str) -> None:
    """Orders go on until the reserved time is over and are refused then; all is back within
    seconds."""
    with history.buying(clients=3, money_paid=1) as answers:
        until(lambda: sum(one.placed for one in answers) > 10, "orders are being placed")
        getattr(zookeeper, go)()
        placed(history, money_paid=1)
        until(lambda: refused_for_want_of_ids(history.place(money_paid=1)), "there are no ids")
        refusals = sum(refused_for_want_of_ids(one) for one in answers)
        until(
            lambda: sum(map(refused_for_want_of_ids, answers)) > refusals + 100, "it lasts a while"
        )
        getattr(zookeeper, come)()
        until(lambda: history.place(money_paid=1).placed, "orders are placed again", seconds=10)


def test_an_ensemble_that_cannot_be_reached_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`labkit up` names it in one line, and what its address should look like."""
    for wrong, said in (
        ("127.0.0.1:1", "no ZooKeeper is ready at 127.0.0.1:1, which LABKIT_ZOOKEEPER names"),
        ("127.0.0.1", "LABKIT_ZOOKEEPER must look like host:2181"),
    ):
        monkeypatch.setenv("LABKIT_ZOOKEEPER", wrong)
        with pytest.raises(RuntimeError, match="ZooKeeper cannot be used") as raised:
            Lab.up(tmp_path / "home")
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)


def test_who_starts_while_zookeeper_is_away_comes_up_with_it(
    lab: Lab, history: History, zookeeper: Server
) -> None:
    """A service that dies meanwhile waits at its start and says so; the lab is whole again when
    ZooKeeper is back, even with nothing of what it knew."""
    before = pids_by_status(lab, "coupon")
    log = lab.home.logs / "coupon-1.log"
    zookeeper.kill()
    os.kill(before["1"], signal.SIGKILL)
    until(lambda: pids_by_status(lab, "coupon") not in ({"1": None}, before), "it is started again")
    until(lambda: "waiting for ZooKeeper" in log.read_text().rpartition("worker number")[2], "says")
    zookeeper.forget()
    zookeeper.start()
    until(
        lambda: all(one["state"] == "up" for one in launch.status(lab.home)["services"]),
        "the lab is whole",
        seconds=30,
    )
    placed(history, coupon=True, money_paid=1)
