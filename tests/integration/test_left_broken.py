"""Whoever breaks something can end in any way: what it broke is mended."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.faults import mend
from labkit.lab import Lab
from labkit.runtime.injection.standing import FaultBook
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.integration.conftest import assert_whole
from tests.support.db import labkit
from tests.support.history import History

pytestmark = pytest.mark.slow

CONFIRM = "order.confirm_pre_order.before_commit"
#: Every way in which something stands broken, once: by a rule, a signal, the supervisor, a link, a
#: limit, a row, a failpoint, a lock.
VERBS = (
    "slow goods 0.1",
    "paused goods",
    "killed user",
    "broker_paused",
    "database_away coupon",
    "database_full user",
    "registry_away",
    "poison order_cancel",
    "poison order_cancel 700",
    "clock_stepped all 0.05",
    "database_locked log",
    f"armed {CONFIRM} refuse",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("left") / "home"
    up = labkit("up", home=home)
    assert up.returncode == 0, up.stderr
    yield Lab.up(home)
    assert labkit("down", home=home).returncode == 0


def break_and_end(home: Path, verb: str, number: signal.Signals) -> int:
    """Break something, and end who broke it, as soon as it says that it is broken."""
    breaking = subprocess.Popen(
        [sys.executable, "-m", "labkit", "break", *verb.split(), "--home", str(home)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: (
            signal.signal(number, signal.SIG_DFL) if number is not signal.SIGKILL else None
        ),
    )
    assert breaking.stdout
    assert "it is broken" in breaking.stdout.readline()
    breaking.send_signal(number)
    breaking.stdout.read()
    return breaking.wait()


def assert_mended(lab: Lab) -> None:
    """Nothing stands broken: no note, no rule, no failpoint; all serve an order with a coupon."""
    folder = lab.home.folder
    assert not list((folder / "standing").glob("*.json"))
    assert not FaultBook(lab.home.faults).standing()
    assert not any(point["armed"] for point in lab.faults.list())
    services = lambda: launch.status(lab.home)["services"]  # noqa: E731  # asked again and again
    wait_until(
        lambda: all(service["state"] == "up" for service in services()), "not all are up again", 60
    )
    history = History(folder)
    wait_until(lambda: history.place(coupon=True, money_paid=1_00).placed, "no order is placed", 60)
    assert_whole(folder)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_ends_a_fault_and_it_is_mended(lab: Lab, number: signal.Signals) -> None:
    """A terminal that is closed is no way to leave a process stopped."""
    lab.reset()
    assert break_and_end(lab.home.folder, "paused goods", number) == 0
    assert_mended(lab)


@pytest.mark.parametrize("verb", VERBS)
def test_the_next_command_mends_what_a_killed_one_left(lab: Lab, verb: str) -> None:
    """Killed with −9, it mends nothing; the next command does, and says so, once."""
    lab.reset()
    break_and_end(lab.home.folder, verb, signal.SIGKILL)
    done = labkit("status", "--json", home=lab.home.folder)
    assert f"left broken by a tool that was killed: {verb}\n" in done.stderr
    assert json.loads(done.stdout)["services"]
    assert not labkit("status", home=lab.home.folder).stderr
    assert_mended(lab)


def test_what_somebody_still_wants_broken_stays(lab: Lab) -> None:
    """A note whose maker lives is left alone, until all is cleared."""
    lab.reset()
    with lab.faults.paused("goods"):
        assert mend(lab.home) == []
        shown = labkit("status", home=lab.home.folder).stdout
        assert "labkit fault --clear ends all of it" in shown
        assert "paused goods" in shown
        assert labkit("fault", "--clear", home=lab.home.folder).returncode == 0
        assert History(lab.home.folder).place().placed
    assert_mended(lab)
