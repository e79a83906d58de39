"""The kernel may hold a killed process (state D): whoever ends a lab says so, and does not wait."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.stack.supervisor import ending, holder, spawn
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


def test_a_supervisor_of_ours_that_no_signal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent does not wait without end either."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        monkeypatch.setattr(child, "kill", lambda: None)
        with pytest.raises(RuntimeError, match=rf"the kernel holds .*pid {child.pid}"):
            ending.kill(child)
        monkeypatch.undo()
        child.send_signal(signal.SIGKILL)
