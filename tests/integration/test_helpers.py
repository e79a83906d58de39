"""A helper that the supervisor forks neither outlives it, nor makes it deaf."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from labkit.faults import points
from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.bug_injection import inject_bug
from labkit.stack.supervisor import control, launch
from labkit.stack.supervisor.control import NotUp
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.history import History
from tests.support.processes import gone, processes
from tests.support.storyline import placed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # labs are started two and three times
SEEDING = "helper.put_aside.before_rename"
#: Holds a lock until its input ends.
_HOLDER = """
import sys
from pathlib import Path
from labkit.files import try_lock
assert try_lock(Path(sys.argv[1])) is not None
print(flush=True)
sys.stdin.read()
"""

#: Makes a supervisor wait for the databases no longer than that.
_WAITS_A_SECOND = """
import sys
if "labkit.stack" in sys.orig_argv:
    from labkit.stack.supervisor import earlier_life
    earlier_life._LOCK_S = 1.0
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose lab is taken down afterwards."""
    yield tmp_path / "home"
    launch.down(Home(tmp_path / "home"))


def family(lab: Lab) -> dict[str, int]:
    """Every process of a lab, whoever is recorded: the supervisor and all that it has started."""
    supervisor = launch.status(lab.home)["supervisor"]
    children = psutil.Process(supervisor).children(recursive=True)
    return {"supervisor": supervisor, **{str(child.pid): child.pid for child in children}}


def helper_of(lab: Lab) -> int:
    """The process that seeds: during a reset the supervisor has no other."""
    supervisor = psutil.Process(launch.status(lab.home)["supervisor"])
    return wait_until(lambda: [child.pid for child in supervisor.children()], "it seeds")[0]


class Reset:
    """A reset that somebody else asked for, and that never gets beyond its seeding."""

    def __init__(self, lab: Lab) -> None:
        self.outcome = ""
        points.arm(lab.home, SEEDING, "delay:600")
        self._home = lab.home
        self._asking = threading.Thread(target=self._ask)
        self._asking.start()
        wait_until(
            lambda: not points.remaining(lab.home, SEEDING), "the first data is being put in"
        )

    def _ask(self) -> None:
        try:
            control.tell(self._home, "reset")
        except (NotUp, RuntimeError) as error:
            self.outcome = str(error)

    def answer(self) -> str:
        """Return what the caller was told."""
        self._asking.join(30)
        assert not self._asking.is_alive()
        return self.outcome


def test_a_helper_dies_with_its_supervisor(home: Path) -> None:
    """The supervisor is killed with −9 while first data is put in. Nobody puts it in later, beneath
    the services of the next life, and what was acknowledged in either life stays."""
    lab = Lab.up(home)
    before = placed(History(home)).order_id
    reset = Reset(lab)
    all_of_it = family(lab)
    assert len(all_of_it) == 2  # itself, and who seeds
    recorded = {process["pid"] for process in lab.home.state()["processes"]}
    assert recorded == set(all_of_it.values()) - {all_of_it["supervisor"]}
    os.kill(all_of_it["supervisor"], signal.SIGKILL)
    wait_until(lambda: gone(all_of_it), "all are gone")
    assert reset.answer()

    lab = Lab.up(home)
    after = placed(History(home)).order_id
    for name, pid in processes(home).items():
        if name != "supervisor":
            os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: all(process["state"] == "up" for process in launch.status(lab.home)["services"]),
        "back",
    )
    for order_id in (before, after):
        wait_until(lambda: lab.client.find(order_id).status_code == 200, "it is there")  # noqa: B023
    lab.settle()


def test_down_is_heard_while_a_helper_works(home: Path) -> None:
    """`labkit down` ends a lab whose supervisor waits for its helper, and the helper too."""
    lab = Lab.up(home)
    before = placed(History(home)).order_id
    reset = Reset(lab)
    all_of_it = family(lab)
    assert labkit("down", home=home).returncode == 0
    assert gone(all_of_it)
    assert "told to go down" in reset.answer()
    assert Lab.up(home).client.find(before).status_code == 200


def test_a_helper_that_is_killed_is_told_in_one_line(home: Path) -> None:
    """As by a system whose memory runs out: the reset fails, says why, and the lab is down and says
    so; it can be started again."""
    lab = Lab.up(home)
    reset = Reset(lab)
    all_of_it = family(lab)
    os.kill(helper_of(lab), signal.SIGKILL)
    outcome = reset.answer()
    assert "killed by signal 9" in outcome
    assert "memory" in outcome
    assert f"labkit up --home {home}" in outcome
    wait_until(lambda: gone(all_of_it), "all are gone")
    assert launch.status(lab.home)["supervisor"] is None
    assert not launch.is_up(lab.home)
    Lab.up(home)
    assert placed(History(home))


def test_up_waits_for_nobody_who_works_on_the_databases(home: Path) -> None:
    """A process that no state names holds them: the lab does not come up beneath it, and says
    which; when it is gone, it does."""
    Lab.up(home).down()
    command = [sys.executable, "-c", _HOLDER, str(Home(home).databases_lock_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        refused = pytest.raises(RuntimeError, match=r"an earlier run still works .*databases\.lock")
        with inject_bug(_WAITS_A_SECOND), refused:
            Lab.up(home)
        holder.stdin.close()
        holder.wait()
    Lab.up(home)
    assert placed(History(home))


@pytest.mark.parametrize(
    ("service", "failpoint"),
    [
        ("goods", "start_process.before_fork"),
        ("broker", "start_process.before_fork"),
        ("broker", "start_helper.before_fork"),
    ],
)
def test_a_fork_that_fails_costs_a_moment(lab: Lab, service: str, failpoint: str) -> None:
    """The system has no process left, three times: who died is back, the rest never notices."""
    before = processes(lab.home.folder)
    points.arm(lab.home, f"supervisor.{failpoint}", "refuse", 3)
    os.kill(before[service], signal.SIGKILL)
    wait_until(
        lambda: processes(lab.home.folder).get(service, before[service]) != before[service], ""
    )
    wait_until(
        lambda: not points.remaining(lab.home, f"supervisor.{failpoint}"), "it failed thrice"
    )
    wait_until(
        lambda: all(process["state"] == "up" for process in launch.status(lab.home)["services"]),
        "back",
    )
    after = processes(lab.home.folder)
    assert {name for name in after if after[name] != before[name]} == {service}
    assert placed(History(lab.home.folder))


def test_a_fork_that_fails_does_not_fail_scale_or_reset(lab: Lab) -> None:
    """Both are done all the same, as soon as it succeeds."""
    for failpoint in ("start_process.before_fork", "start_helper.before_fork"):
        points.arm(lab.home, f"supervisor.{failpoint}", "refuse", 2)
    lab.scale(goods=2)
    lab.reset()
    assert not points.remaining(lab.home, "supervisor.start_helper.before_fork")
    lab.scale(goods=1)
    assert placed(History(lab.home.folder))


def test_who_connects_again_and_again_holds_up_nobody(lab: Lab) -> None:
    """Connections that say nothing, hundreds of them: who died is started again meanwhile."""
    before, port = processes(lab.home.folder), lab.home.state()["control"]
    with ExitStack() as connections:

        def back() -> bool:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connections.enter_context(connection)
            after = processes(lab.home.folder)
            return after.get("goods", before["goods"]) != before["goods"]

        for _ in range(50):
            back()
        os.kill(before["goods"], signal.SIGKILL)
        wait_until(back, "goods is back")
        control.tell(lab.home, "ping")
