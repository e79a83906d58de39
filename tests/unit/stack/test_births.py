"""How a process is recognized: by its pid and its birth, which no setting of a clock moves."""

import os
import subprocess
import sys

import psutil
import pytest

from labkit import boot
from labkit.stack.supervisor import spawn


def test_a_birth_names_one_process() -> None:
    """It stays the same for as long as the process lives, and ends with it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        born = spawn.birth(process.pid)
        assert born
        assert born == spawn.birth(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert spawn.birth(process.pid) is None  # nobody has taken note of its end yet
    assert spawn.birth(process.pid) is None


def test_a_step_of_the_wall_clock_moves_no_birth(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step the system tells another time of its boot, by which psutil counts."""
    born = spawn.birth(os.getpid())
    birth = psutil.Process().create_time()
    if sys.platform == "linux":
        boot_time = psutil._pslinux.boot_time()  # type: ignore[attr-defined]
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3 * 3600)
        assert psutil.Process().create_time() > birth + 3600  # the step is there
    assert spawn.birth(os.getpid()) == born


def test_psutil_tells_a_start_that_does_not_move() -> None:
    """The door of psutil that macOS needs is private: a release that closes it is noticed here."""
    process = psutil.Process()
    assert process._proc.create_time(monotonic=True) <= process.create_time()  # type: ignore[attr-defined]


def test_a_boot_has_a_name() -> None:
    """It is the same in each process of one boot."""
    command = [sys.executable, "-c", "from labkit.boot import boot_id; print(boot_id())"]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == boot.boot_id() != ""
