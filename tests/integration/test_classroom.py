"""A class on one machine: ten labs, started at the same moment, that never meet.

Five belong to us and five to five other users, where we may start processes as others (we are root,
and others can run this Python); elsewhere all ten are ours.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.stack.setup import broker_binary
from labkit.stack.supervisor import launch, ports
from labkit.waiting import wait_until
from tests.support.processes import gone, processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # ten labs start at once

ROOT = Path(__file__).parents[2]
LEARNERS = 10
UP = "import sys; from labkit.stack.supervisor.launch import Home, up; up(Home(sys.argv[1]))"
STRANGERS_UID = 20_001  # of no account: a user is a number


@dataclass(frozen=True)
class Learner:
    """One of the class.

    Attributes:
        folder: of the user, like /home/wang.
        uid: None where it is ours.
    """

    folder: Path
    uid: int | None

    @property
    def home(self) -> Home:
        return Home(self.folder / "lab")

    def run(self, *words: str) -> "subprocess.Popen[str]":
        """Run Python as this user."""
        other: dict[str, Any] = {}
        if self.uid:
            other = {"user": self.uid, "group": self.uid, "extra_groups": []}
        env = {**os.environ, "HOME": str(self.folder if self.uid else Path.home())}
        output: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        command = [sys.executable, *words]
        return subprocess.Popen(command, cwd=ROOT, env=env, **output, **other)


def uid_of(number: int) -> int | None:
    """Every second learner is another user, where that is possible."""
    return STRANGERS_UID + number if number % 2 and others_can_run() else None


def others_can_run() -> bool:
    if os.geteuid():
        return False
    nobody = {"user": STRANGERS_UID, "group": STRANGERS_UID, "extra_groups": []}
    try:
        command = [sys.executable, "-c", "import labkit"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, **nobody).returncode == 0
    except PermissionError:
        return False


def enrol(base: Path, number: int) -> Learner:
    """Make a user's folder, which nobody else can enter."""
    learner = Learner(base / f"learner-{number}", uid_of(number))
    learner.folder.mkdir(mode=0o700)
    if learner.uid:
        os.chown(learner.folder, learner.uid, learner.uid)
    return learner


@pytest.fixture(scope="module")
def classroom() -> Iterator[list[Learner]]:
    """Ten labs that were started at the same moment."""
    base = Path(tempfile.mkdtemp(prefix="classroom-"))  # pytest's own is ours alone
    base.chmod(0o711)
    learners = [enrol(base, number) for number in range(LEARNERS)]
    try:
        starting = [learner.run("-c", UP, str(learner.home.folder)) for learner in learners]
        outputs = [starter.communicate() for starter in starting]
        assert [starter.returncode for starter in starting] == [0] * LEARNERS, outputs
        yield learners
    finally:
        with ThreadPoolExecutor(LEARNERS) as pool:
            downs = list(pool.map(lambda learner: launch.down(learner.home), learners))
        shutil.rmtree(base)
    assert all(downs)


@pytest.fixture
def labs(classroom: list[Learner]) -> Iterator[list[Lab]]:
    """The ten, to order in."""
    with ExitStack() as stack:
        labs = [Lab(learner.home) for learner in classroom]
        for lab in labs:
            stack.callback(lab.client.http.close)
        yield labs


def listening(pid: int) -> set[int]:
    """The ports on which a process listens."""
    connections = psutil.Process(pid).net_connections("inet")
    return {
        connection.laddr.port
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }


def test_ten_come_up_at_once(classroom: list[Learner]) -> None:
    """All serve, each process belongs to its learner, and no two labs share a process or a port."""
    pids, used_ports = [], []
    for learner in classroom:
        assert {each["state"] for each in launch.status(learner.home)["services"]} == {"up"}
        mine = processes(learner.home.folder)
        assert {psutil.Process(pid).uids().real for pid in mine.values()} == {
            learner.uid or os.getuid()
        }
        pids += mine.values()
        # processes of one lab may share a socket: the supervisor hands the web its own
        used_ports += set().union(*map(listening, mine.values()))
    assert len(pids) == len(set(pids))
    assert len(used_ports) == len(set(used_ports))


def test_nobody_hears_of_anothers_orders(labs: list[Lab]) -> None:
    """Learner number n places n orders and cancels one, all at once: each has just its own.

    Ten shops on few cores may be too slow for a call's time: then an order is tried once more.
    """

    def buy(number: int) -> set[str]:
        lab, answers = labs[number], []

        def place() -> str | None:
            answers.append(lab.order(money_paid=1_00))
            return answers[-1].order_id if answers[-1].status == 200 else None

        orders = [wait_until(place, "an order is placed", timeout=60) for _ in range(number + 1)]
        wait_until(lambda: lab.cancel(orders[0]).status == 200, "it is cancelled", timeout=60)
        lab.settle(timeout=60)
        return {answer.order_id for answer in answers if answer.order_id}

    with ThreadPoolExecutor(LEARNERS) as pool:
        own = list(pool.map(buy, range(LEARNERS)))
    for number, lab in enumerate(labs):
        reader = Reader(lab.home)
        orders = {str(row["order_id"]) for row in reader.table("trade_order")}
        sent = [row["msg_key"] for row in reader.table("trade_mq_producer")]
        heard = [row["msg_key"] for row in reader.table("trade_mq_consumer_log")]
        assert len(orders) > number
        assert orders <= own[number]
        assert set(sent) <= orders
        assert sorted(heard) == sorted(sent * 5)  # goods, coupon, user, pay and order
        assert all(verdict["held"] for verdict in check.check(reader))
        reader.close()


def test_the_end_of_one_lab_is_nobody_elses(classroom: list[Learner], labs: list[Lab]) -> None:
    """All processes of a lab die with −9, and come up again; the others never notice."""
    neighbours = [processes(learner.home.folder) for learner in classroom[1:]]
    mine = processes(classroom[0].home.folder)
    os.killpg(mine["supervisor"], signal.SIGKILL)
    wait_until(lambda: gone(mine), "the lab is gone")
    assert all(lab.order().order_id for lab in labs[1:])
    again = classroom[0].run("-c", UP, str(classroom[0].home.folder))
    assert again.wait(60) == 0
    assert [processes(learner.home.folder) for learner in classroom[1:]] == neighbours


def test_a_reserved_port_is_one_labs_alone() -> None:
    """Between choosing the broker's port and its start, nobody else gets it; the broker does.

    Only Linux can keep a port for another program.
    """
    port, keeper = ports.reserve(0)
    other, others_keeper = ports.reserve(port)
    assert (other != port) == (sys.platform == "linux")
    with (
        keeper,
        others_keeper,
        subprocess.Popen(
            broker_binary.command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as broker,
    ):
        wait_until(lambda: ports.answers(f"127.0.0.1:{port}"), "the broker listens at its port")
        assert broker.poll() is None
        broker.kill()


def test_what_a_neighbour_gets_at(classroom: list[Learner]) -> None:
    """Neither the home nor a process, no call and no command; but the web and the broker answer.

    Where all labs are ours, home and processes are ours as well: then only the guessed secret
    is tried.
    """
    neighbour, lab = classroom[1], classroom[3].home
    before = processes(lab.folder)
    state = lab.state()
    goods = next(process["endpoint"] for process in state["services"] if process["name"] == "goods")
    ends = state["endpoints"]
    target = {
        "home": str(lab.folder),
        "pid": state["supervisor"],
        "control": state["control"],
        "goods": goods,
        "web": ends["order-web"].removeprefix("http://"),
        "broker": ends["broker"],
    }
    output, errors = neighbour.run("-m", "tests.support.intruder", json.dumps(target)).communicate()
    report = json.loads(output or f'"{errors}"')
    if neighbour.uid:
        locked = {report[what] for what in ("list", "secret", "order", "kill")}
        assert locked == {"PermissionError"}
    assert report["down"] == ""  # not even a refusal
    assert "UNAUTHENTICATED" in report["call"]
    assert (report["web"], report["broker"]) == ("True", "True")
    assert processes(lab.folder) == before
