"""A health check that tells the truth: `up` and `status` say what answers, not what was started."""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labkit.faults import points
from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.bug_injection import inject_bug
from labkit.shop.wiring import GROUPS, NAMES, SERVICES
from labkit.stack.supervisor import health, launch, spawn
from labkit.waiting import wait_until
from tests.support.db import ask_status, labkit
from tests.support.processes import processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: The way from order to goods is broken, and both are well.
_NO_WAY = """
from labkit.runtime.rpc.client import Calls
ask = Calls._ask
async def lost(self, service, method, body, expires):
    if (self._caller, service) == ("order", "goods"):
        raise ConnectionError("lost on the way")
    return await ask(self, service, method, body, expires)
Calls._ask = lost
"""


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for a block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def states(home: Path) -> dict[str, Any]:
    """Return what `labkit status --json` says of each process."""
    ask_status.cache_clear()
    return {process["name"]: process["state"] for process in ask_status(home)["services"]}


def test_each_edge_of_the_wiring_is_gone_along(lab: Lab) -> None:
    """Every process answers, and has asked everybody whom the wiring has it call or audit."""
    answers = health.ask(lab.home)
    assert [answer.problem for answer in answers.values() if answer.problem] == []
    for service in SERVICES.values():
        called = {NAMES.get(contract, name) for name, contract in service.calls.items()}
        audited = {group for event in service.emits for group in GROUPS[event.topic]}
        callees = {edge.callee for edge in answers[f"{service.name}-1"].edges}
        assert callees == called | audited, service.name
    assert {"broker-1", "platform-1"} <= answers.keys()


def test_a_health_check_changes_and_counts_nothing(lab: Lab) -> None:
    """No row is written, and no failpoint is crossed: a crash armed there is meant for an order."""
    lab.settle()
    before = {point["name"]: point["hits"] for point in points.list_all(lab.home)}
    assert not [answer for answer in health.ask(lab.home).values() if answer.problem]
    after = {point["name"]: point["hits"] for point in points.list_all(lab.home)}
    crossed = {name for name in after if after[name] != before[name] and "find_order" in name}
    assert not crossed


@pytest.mark.parametrize("name", ["goods", "order-web", "platform", "broker"])
def test_a_process_that_hangs_is_silent(lab: Lab, name: str) -> None:
    """It was started and not ended, so that it looks alive to who does not ask it."""
    with stopped(processes(lab.home.folder)[name]):
        all_up = dict.fromkeys(states(lab.home.folder), "up")
        wanted = {**all_up, name: "silent"}
        wait_until(
            lambda: states(lab.home.folder) == wanted, "one is silent, all others are up", 240
        )
        result = labkit("status", home=lab.home.folder)
        assert f"{name}-1 does not answer" in result.stdout
    wait_until(lambda: states(lab.home.folder)[name] == "up", "it answers again", 240)


def test_an_edge_that_does_not_answer_is_told(lab: Lab) -> None:
    """All processes are up, but one does not reach another: status says which, and why."""
    with lab.faults.cut("order", "goods", how="refused"):
        wanted = "order-1 gets no answer from goods ("
        wait_until(
            lambda: any(line.startswith(wanted) for line in health.status(lab.home)[1]),
            "status knows of the cut",
            240,
        )


def test_up_fails_where_an_edge_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says which edge, and why; and nothing of the lab stays."""
    monkeypatch.setattr(health, "await_whole", partial(health.await_whole, seconds=2.0))
    home = Home(tmp_path / "home")
    with (
        inject_bug(_NO_WAY),
        pytest.raises(RuntimeError, match=r"order-1 gets no answer from goods \(lost on the way"),
    ):
        launch.up(home)
    assert not launch.is_up(home)
    assert not processes(home.folder)


def test_nothing_stays_where_no_file_can_be_opened_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` has used up its descriptors, and cannot look at any process: all it started goes."""
    home = Home(tmp_path / "home")

    def use_up(*_: object) -> None:
        monkeypatch.setattr(spawn, "birth", use_up)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(health, "await_whole", use_up)
    with pytest.raises(OSError, match="Too many open files"):
        launch.up(home)
    monkeypatch.undo()
    wait_until(
        lambda: not launch.is_up(home) and not processes(home.folder), "all of it is gone", 20
    )
