"""Children of the supervisor: none works before it is written down, or after its parent is gone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.stack.supervisor import spawn
from labkit.waiting import wait_until
from tests.support.processes import gone

#: A parent that starts one child of each kind, opens no gate, or all, and waits.
_PARENT = """
import json, os, sys, time
from pathlib import Path
from labkit.stack.supervisor import spawn as children
folder, opens = Path(sys.argv[1]), sys.argv[2] == "open"
lifeline, _end = os.pipe()

def work():
    (folder / "works").touch()
    time.sleep(600)

shell = ["/bin/sh", "-c", f"touch {folder}/runs; exec sleep 600"]
log = folder / "log"
started = [children.fork(work, log, lifeline), children.run_program(shell, log)]
if opens:
    for one in started:
        one.go_on()
print(json.dumps([one.pid for one in started]), flush=True)
time.sleep(600)
"""


def parent_of_two(folder: Path, gates: str) -> tuple["subprocess.Popen[bytes]", dict[str, int]]:
    """A parent, and its children."""
    command = [sys.executable, "-c", _PARENT, str(folder), gates]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout
    forked, program = json.loads(parent.stdout.readline())
    return parent, {"forked": forked, "program": program}


def end(parent: "subprocess.Popen[bytes]") -> None:
    assert parent.stdout
    parent.kill()
    parent.wait()
    parent.stdout.close()


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """A parent that is killed with −9 leaves neither a forked child nor a program behind."""
    parent, pids = parent_of_two(tmp_path, "open")
    wait_until(lambda: (tmp_path / "works").exists() and (tmp_path / "runs").exists(), "both work")
    assert not gone(pids)
    end(parent)
    wait_until(lambda: gone(pids), "both are gone")


def test_who_was_never_written_down_does_nothing(tmp_path: Path) -> None:
    """A parent that dies before it opens the gates: the children end, and have done nothing."""
    parent, pids = parent_of_two(tmp_path, "shut")
    assert not gone(pids)
    end(parent)
    wait_until(lambda: gone(pids), "both are gone")
    assert not (tmp_path / "works").exists()
    assert not (tmp_path / "runs").exists()


def test_a_child_ends_with_its_lifeline(tmp_path: Path) -> None:
    """Where the kernel ends nobody with its parent, the pipe that the parent alone holds does."""
    lifeline, end_of_it = os.pipe()
    child = spawn.fork(lambda: signal.pause(), tmp_path / "log", lifeline)
    child.go_on()
    assert not spawn.ended(child.pid)
    os.close(end_of_it)
    wait_until(lambda: spawn.ended(child.pid), "the child is gone")
    os.close(lifeline)


@pytest.mark.skipif(not spawn.FORKS, reason="the kernel does so on Linux alone")
def test_a_child_whose_parent_died_at_once() -> None:
    """It asks the kernel to end it with its parent, and then looks whether that was too late."""
    code = "import os; from labkit.stack.supervisor.spawn import _die_with; {}; print('lives')"
    for call, expected in (
        ("_die_with(os.getppid())", (0, "lives\n")),
        ("_die_with(os.getppid() + 1)", (1, "")),
    ):
        command = [sys.executable, "-c", code.format(call)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == expected, done.stderr


def test_how_a_child_ended(tmp_path: Path) -> None:
    """None while it lives; then as the system tells it."""
    lifeline, end_of_it = os.pipe()
    child = spawn.fork(lambda: signal.pause(), tmp_path / "log", lifeline)
    assert spawn.exit_status(child.pid) is None
    os.kill(child.pid, signal.SIGKILL)
    ends: list[int] = []

    def ended() -> bool:
        status = spawn.exit_status(child.pid)
        ends.extend([] if status is None else [status])
        return bool(ends)

    wait_until(ended, "the child has ended")
    assert os.WTERMSIG(ends[0]) == signal.SIGKILL
    child.go_on()
    os.close(lifeline)
    os.close(end_of_it)
