"""Several instances of a service: one goes under load, and the others go on with all it had."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from labkit.lab import Lab
from labkit.stack.supervisor import launch
from labkit.stack.supervisor.fencing import writer_of
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.history import History
from tests.support.processes import gone
from tests.support.storyline import placed, quick_lab

pytestmark = pytest.mark.slow

TIMES = {"LABKIT_GROUP_SESSION": "1.5", "LABKIT_OUTBOX_LEASE": "1"}
TWO = {"order": 2, "goods": 2, "order_web": 2}
ALL = {"coupon": True, "money_paid": 7_00}


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **TIMES) as lab:
        lab.scale(**TWO)
        yield lab


def killed(lab: Lab, service: str) -> AbstractContextManager[None]:
    return lab.faults.killed(f"{service}-2")


def paused(lab: Lab, service: str) -> AbstractContextManager[None]:
    return lab.faults.paused(f"{service}-2")


@contextmanager
def removed(lab: Lab, service: str) -> Iterator[None]:
    lab.scale(**{service: 1})
    yield
    lab.scale(**{service: 2})


@pytest.mark.parametrize("service", ["goods", "order", "order-web"])
@pytest.mark.parametrize("gone", [killed, paused, removed])
def test_one_of_two_goes_under_load(
    lab: Lab,
    history: History,
    gone: Callable[[Lab, str], AbstractContextManager[None]],
    service: str,
) -> None:
    """Orders succeed again on the other; no answer is untrue, and none is waited for in vain."""
    with history.buying(clients=4, money_paid=1) as answers:
        wait_until(lambda: sum(answer.placed for answer in answers) > 10, "orders are being placed")
        with gone(lab, service):
            wait_until(lambda: succeed(history), "orders succeed again on the other", timeout=10)
    assert placed(history, **ALL)


@pytest.mark.embedded
def test_who_stands_still_with_a_database_locked(lab: Lab, history: History) -> None:
    """Stopped in the middle of a transaction, it is ended: the other could not write otherwise."""
    database = lab.home.databases / "order.sqlite"
    process = psutil.Process(pid_of(lab, "order", 2))
    with history.buying(clients=4, money_paid=1):
        wait_until(
            lambda: stopped_while_it_writes(process, database), "it is stopped while it writes"
        )
        wait_until(lambda: succeed(history), "orders succeed again on the other", timeout=10)
    assert gone({"order": process.pid})


def stopped_while_it_writes(process: psutil.Process, database: Path) -> bool:
    """Stop a process; where it was not writing just then, let it go on."""
    process.suspend()
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
    if writer_of(database) == process.pid:
        return True
    process.resume()
    return False


def pid_of(lab: Lab, name: str, instance: int) -> int:
    listed = launch.status(lab.home)["services"]
    return next(
        process["pid"]
        for process in listed
        if (process["name"], process["instance"]) == (name, instance)
    )


def succeed(history: History, orders: int = 10) -> bool:
    """Return True if so many orders in a row are placed; the first that is not ends it."""
    return all(history.place(money_paid=1).placed for _ in range(orders))


def test_scaling_from_the_command_line(lab: Lab) -> None:
    """Status shows the new instances, a reset keeps them, and the last ones leave first."""
    home = lab.home.folder
    assert labkit("scale", "coupon=3", "user=2", home=home).returncode == 0
    lab.reset()
    assert serving(lab, "coupon") == [1, 2, 3]
    assert labkit("scale", "coupon=1", "user=1", home=home).returncode == 0
    assert (serving(lab, "coupon"), serving(lab, "user")) == ([1], [1])


def serving(lab: Lab, service: str) -> list[int]:
    """Which instances of a service are up."""
    listed = launch.status(lab.home)["services"]
    return [
        process["instance"]
        for process in listed
        if (process["name"], process["state"]) == (service, "up")
    ]


def test_a_number_that_cannot_be_had(lab: Lab) -> None:
    """It is refused in one line that says what can be had, and nothing changes."""
    before = launch.status(lab.home)["services"]
    result = labkit("scale", "user=2", "goods=10", home=lab.home.folder)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "'goods=10': write SERVICE=1 to 9; services are order, goods" in result.stderr
    with pytest.raises(RuntimeError, match="'goods=0': write SERVICE=1 to 9"):
        lab.scale(user=2, goods=0)
    assert launch.status(lab.home)["services"] == before
