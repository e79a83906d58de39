"""The kernel may hold a killed process (state D): whoever ends a lab says so, and does not wait."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.stack.boundaries import SUPERVISOR, failpoints_in
from labkit.stack.supervisor import children, ending, helpers, holder, spawn
from labkit.stack.supervisor.child import Child
from labkit.waiting import wait_until
from tests.support.states import state_in_json


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait shortly, and let no signal reach anybody."""
    monkeypatch.setattr(ending, "_DOWN_S", 0.1)
    monkeypatch.setattr(ending, "_KILL_S", 0.1)
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)


def test_down_names_a_supervisor_that_no_signal_ends(tmp_path: Path) -> None:
    """It is not waited for without end."""
    home = Home(tmp_path / "home").make()
    with home.lock_file.open("w") as lock:
        holder.sign(lock.fileno(), os.getpid())
        signer = holder.holder_of(home)
        with pytest.raises(RuntimeError, match=rf"the kernel holds .*pid {os.getpid()}"):
            ending._end_holder(signer, lambda _: None)


def test_down_names_a_process_that_no_signal_ends(tmp_path: Path) -> None:
    """The supervisor is gone, and a process that it has recorded stays."""
    home = Home(tmp_path / "home").make()
    process = {"pid": os.getpid(), "birth": spawn.birth(os.getpid())}
    home.state_file.write_text(json.dumps(json.loads(state_in_json()) | {"processes": [process]}))
    with pytest.raises(RuntimeError, match=rf"the kernel holds .*pid {os.getpid()}"):
        ending.down(home)


def test_a_supervisor_names_children_that_no_signal_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not waited for without end either, and stay in the state, for the next start."""
    monkeypatch.setattr(children, "_STOP_S", 0.1)
    monkeypatch.setattr(children, "_KILL_S", 0.1)
    home = Home(tmp_path / "home").make()
    failpoints = failpoints_in(home, SUPERVISOR)
    family = children.Children(home, lifeline=0, lock=0, failpoints=failpoints, webs={})
    family.by_label = {"goods-1": Child("goods", 1, pid=os.getpid()), "log-1": Child("log", 1)}
    monkeypatch.setattr(spawn, "ended", lambda _pid: False)
    assert family.stop_all(signal.SIGTERM) == ["goods-1"]
    assert family.by_label["goods-1"].pid == os.getpid()


def test_a_helper_that_no_signal_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is not waited for without end."""
    monkeypatch.setattr(helpers, "_KILL_S", 0.1)
    lifeline, end_of_it = os.pipe()
    home = Home(tmp_path / "home").make()
    failpoints = failpoints_in(home, SUPERVISOR)
    with (home.folder / "lock").open("w") as lock:
        helper = helpers.Helper(
            home, "fill", lambda _: signal.pause(), lifeline, lock.fileno(), failpoints
        )
    helper.end()
    assert not helper.ended()
    os.close(end_of_it)
    wait_until(helper.ended, "the helper ends with its lifeline")
    os.close(lifeline)


def test_a_supervisor_of_ours_that_no_signal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent does not wait without end either."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        monkeypatch.setattr(child, "kill", lambda: None)
        with pytest.raises(RuntimeError, match=rf"the kernel holds .*pid {child.pid}"):
            ending.kill(child)
        monkeypatch.undo()
        child.send_signal(signal.SIGKILL)
