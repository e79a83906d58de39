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
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.containers.zookeeper.conftest import looking_at
from tests.support.containers.stacks import Backend
from tests.support.history import History
from tests.support.storyline import placed, quick_lab, remembered

#: So that ids run out soon after ZooKeeper does.
RESERVE = "1.5"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, zookeeper: Backend) -> Iterator[Lab]:
    settings = {"LABKIT_ZOOKEEPER": zookeeper.address, "LABKIT_WORKER_RESERVE": RESERVE}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **settings) as lab:
        lab.scale(goods=2)
        yield lab


@pytest.fixture
def history(lab: Lab) -> Iterator[History]:
    """Remembers the answers; afterwards all must settle, and be as the answers say."""
    with remembered(lab) as history:
        yield history


@pytest.fixture
def tree(lab: Lab, zookeeper: Backend) -> Iterator[KazooClient]:
    """A client that looks at the lab's tree, as a person would."""
    with looking_at(lab.home, zookeeper) as client:
        yield client


def pids_of(tree: KazooClient, service: str) -> dict[str, int]:
    """Instance → process id, as the tree says."""
    path, endpoints = f"/instances/{service}", {}
    for instance in tree.get_children(path):
        with suppress(NoNodeError):  # it went meanwhile
            endpoints[instance] = json.loads(tree.get(f"{path}/{instance}")[0])["pid"]
    return endpoints


def pids_by_status(lab: Lab, service: str) -> dict[str, int]:
    listed = launch.status(lab.home)["services"]
    return {
        str(process["instance"]): process["pid"] for process in listed if process["name"] == service
    }


def test_a_killed_instance_leaves_the_tree_and_comes_back(
    lab: Lab, history: History, tree: KazooClient, zookeeper: Backend
) -> None:
    """Held down after kill −9 it is gone with its session, and orders go on with the other."""
    assert launch.status(lab.home)["endpoints"]["registry"] == zookeeper.address
    wait_until(
        lambda: pids_of(tree, "goods") == pids_by_status(lab, "goods"), "both are in the tree"
    )
    with history.buying(clients=2, money_paid=1):
        with lab.faults.killed("goods-2"):
            wait_until(lambda: list(pids_of(tree, "goods")) == ["1"], "it is gone from the tree")
            placed(history, money_paid=1)
        wait_until(lambda: set(pids_of(tree, "goods")) == {"1", "2"}, "it is back in the tree")


def test_an_ensemble_that_cannot_be_reached_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`labkit up` names it in one line, and what its address should look like."""
    for wrong, message in (
        ("127.0.0.1:1", "no ZooKeeper is ready at 127.0.0.1:1, which LABKIT_ZOOKEEPER names"),
        ("127.0.0.1", "LABKIT_ZOOKEEPER must look like host:2181"),
    ):
        monkeypatch.setenv("LABKIT_ZOOKEEPER", wrong)
        with pytest.raises(RuntimeError, match="ZooKeeper cannot be used") as raised:
            Lab.up(tmp_path / "home")
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_who_starts_while_zookeeper_is_away_comes_up_with_it(
    lab: Lab, history: History, zookeeper: Backend
) -> None:
    """A service that dies meanwhile waits at its start and says so; the lab is whole again when
    ZooKeeper is back, even with nothing of what it knew."""
    before = pids_by_status(lab, "coupon")
    log = lab.home.logs / "coupon-1.log"
    zookeeper.kill()
    os.kill(before["1"], signal.SIGKILL)
    wait_until(
        lambda: pids_by_status(lab, "coupon") not in ({"1": None}, before), "it is started again"
    )
    wait_until(
        lambda: "waiting for ZooKeeper" in log.read_text().rpartition("worker number")[2], "says"
    )
    zookeeper.forget()
    zookeeper.start()
    wait_until(
        lambda: all(process["state"] == "up" for process in launch.status(lab.home)["services"]),
        "the lab is whole",
        timeout=30,
    )
    placed(history, coupon=True, money_paid=1)
