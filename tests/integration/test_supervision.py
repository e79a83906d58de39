"""A process that dies is started again; one that is stopped leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab import Lab
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.history import History
from tests.support.processes import gone, processes
from tests.support.storyline import placed, quick_lab

pytestmark = pytest.mark.slow

ALL = {"coupon": True, "money_paid": 7_00}
SERVICES = ["order", "goods", "coupon", "user", "order-web", "broker"]


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield lab


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_process_is_back(lab: Lab, history: History, service: str) -> None:
    """Killed with −9, without a word to its supervisor: a new one does the work."""
    before = processes(lab.home.folder)
    os.kill(before[service], signal.SIGKILL)
    assert history.cancel(placed(history, **ALL).order_id).status_code == 200
    lab.settle()
    after = processes(lab.home.folder)
    assert {name for name in after if after[name] != before[name]} == {service}


def test_every_process_killed_at_once_under_load(tmp_path: Path) -> None:
    """The supervisor included; the home comes up again from what is on disk, at the same places."""
    lab = Lab.up(tmp_path / "home")
    try:
        history = History(lab.home.folder)
        before, endpoints = processes(lab.home.folder), launch.status(lab.home)["endpoints"]
        with history.buying(clients=4, money_paid=1) as answers:
            wait_until(lambda: len(answers) > 20, "orders are being placed")
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
        lab = Lab.up(tmp_path / "home")
        assert gone(before)
        assert launch.status(lab.home)["endpoints"] == endpoints
        assert placed(history, **ALL)
        lab.settle()
        verdicts = lab.check()
        assert set(verdicts["held"]) == {"yes"}, verdicts.to_string()
        history.check()
    finally:
        last = processes(lab.home.folder)
        lab.down()
    assert gone(last)


def test_nothing_outlives_its_supervisor(tmp_path: Path) -> None:
    """The supervisor alone is killed with −9: services and broker go by themselves."""
    lab = Lab.up(tmp_path / "home")
    before = processes(lab.home.folder)
    os.kill(before["supervisor"], signal.SIGKILL)
    wait_until(lambda: gone(before), "all are gone")
    assert launch.status(lab.home)["supervisor"] is None


def test_a_lab_goes_with_the_python_that_started_it(tmp_path: Path) -> None:
    """A notebook's kernel is killed with −9: nothing of its lab is left."""
    script = f"from labkit.lab import Lab; Lab.up({str(tmp_path / 'home')!r}); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as kernel:
        assert kernel.stdout
        kernel.stdout.readline()  # it is up
        before = processes(tmp_path / "home")
        assert not gone(before)
        kernel.kill()
    wait_until(lambda: gone(before), "the lab is gone")


def test_labkit_up_stays_when_its_shell_goes(tmp_path: Path) -> None:
    """The terminal is closed: the lab goes on until `labkit down`, which leaves nothing."""
    up = f"{sys.executable} -m labkit up --home {tmp_path}/home && echo && read forever"
    with subprocess.Popen(
        ["sh", "-c", up], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as shell:
        assert shell.stdout
        wait_until(lambda: shell.stdout.readline() == b"\n", "the lab is up", timeout=90)
        os.killpg(shell.pid, signal.SIGHUP)
        os.killpg(shell.pid, signal.SIGKILL)
    before = processes(tmp_path / "home")
    assert placed(History(tmp_path / "home"))
    assert labkit("down", home=tmp_path / "home").returncode == 0
    assert gone(before)
