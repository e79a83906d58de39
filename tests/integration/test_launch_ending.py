"""Whatever `labkit up` was doing when it was interrupted, `labkit down` leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.bug_injection import inject_bug
from labkit.stack.supervisor import control, holder, launch
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.processes import gone, processes

#: Holds the supervisor where it is about to do something, for as long as a file is there.
_HOLD = """
import os, sys, time
def hold(where):
    while os.path.exists({flag!r}):
        open({flag!r} + "." + where, "w").close()
        time.sleep(0.02)
if sys.orig_argv[1:4] == ["-P", "-m", "labkit.stack"]:
    {where}
"""
_IN_THE_IMPORTS = "hold('reached')"
_IN_THE_FILLING = """
    from labkit.stack.setup import databases
    fill = databases.fill
    def slow(*words):
        hold('reached')
        fill(*words)
    databases.fill = slow
"""

#: A supervisor has much to import, and perhaps little of the machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def flag(tmp_path: Path) -> Iterator[Path]:
    """Where a supervisor is held until this file is gone."""
    flag = tmp_path / "hold"
    flag.touch()
    yield flag
    flag.unlink(missing_ok=True)


def held(flag: Path, where: str) -> str:
    return _HOLD.format(flag=str(flag), where=where.strip())


def reached(flag: Path) -> bool:
    return flag.with_name(f"{flag.name}.reached").exists()


def start_up(home: Path) -> "subprocess.Popen[str]":
    """Run `labkit up` in a process that Ctrl-C interrupts, as it does in a terminal.

    A shell that runs the tests in the background has its children ignore SIGINT.
    """
    command = [sys.executable, "-m", "labkit", "up", "--stack", "embedded", "--home", str(home)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def supervisors(home: Path) -> list[int]:
    """Every supervisor of a home, by its command line and not by what it has written."""
    pids = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if "labkit.stack" in words and any(f'"home": "{home}"' in word for word in words):
            pids.append(process.info["pid"])
    return pids


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
@pytest.mark.parametrize("where", [_IN_THE_IMPORTS, _IN_THE_FILLING], ids=["imports", "filling"])
@pytest.mark.parametrize("old", [False, True], ids=["new home", "old home"])
def test_an_interrupted_up_leaves_nothing(
    tmp_path: Path, flag: Path, where: str, how: signal.Signals, old: bool
) -> None:
    """Interrupted while the supervisor is loaded, or fills the databases: after `down` it is gone.

    An old home holds the state of a supervisor that is dead.
    """
    home = tmp_path / "home"
    if old:
        Lab.up(home).down()
        for file in (home / "databases").iterdir():
            file.unlink()
    with inject_bug(held(flag, where)), start_up(home) as up:
        wait_until(lambda: reached(flag), "the supervisor is where it is held", 240)
        up.send_signal(how)
        result = labkit("down", home=home) if how == signal.SIGKILL else None
        up.wait(240)
    assert result is None or (result.returncode, result.stdout) == (0, "the lab is down\n"), result
    assert labkit("down", home=home).stdout == "no lab was up\n"
    flag.unlink()
    assert supervisors(home) == []
    assert not processes(home)


def test_a_forked_child_does_not_keep_the_lab(tmp_path: Path) -> None:
    """A kernel is killed with −9 while a child lives that it forked: the lab goes all the same."""
    script = (
        "import multiprocessing, time; from labkit.lab import Lab\n"
        f"Lab.up({str(tmp_path / 'home')!r})\n"
        "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))\n"
        "child.start(); print(child.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as kernel:
        assert kernel.stdout
        child = int(kernel.stdout.readline())
        before = processes(tmp_path / "home")
        kernel.kill()
        try:
            wait_until(lambda: gone(before), "the lab is gone", 240)
            assert not gone({"child": child})
        finally:
            os.kill(child, signal.SIGKILL)


def test_down_ends_a_supervisor_that_stands_still(tmp_path: Path) -> None:
    """Stopped, it is woken and goes; whoever asks it for something meanwhile is told why."""
    lab = Lab.up(tmp_path / "home")
    before = processes(lab.home.folder)
    os.kill(before["supervisor"], signal.SIGSTOP)
    result = labkit("reset", home=lab.home.folder)
    assert (result.returncode, "stands still" in result.stderr) == (1, True), result
    result = labkit("up", home=lab.home.folder)
    assert (result.returncode, "labkit down" in result.stderr) == (1, True), result
    result = labkit("down", home=lab.home.folder)
    assert result.stdout.endswith("the lab is down\n"), result
    assert "stands still: it is woken" in result.stdout
    assert gone(before)
    assert not launch.is_up(lab.home)


def test_down_kills_a_supervisor_that_does_not_go(tmp_path: Path) -> None:
    """One that hears no signal is killed after a while, with all its processes; that is said."""
    deaf = "import signal, sys\nif 'labkit.stack' in sys.orig_argv: signal.pthread_sigmask("
    with inject_bug(f"{deaf}signal.SIG_BLOCK, [signal.SIGTERM])"):
        lab = Lab.up(tmp_path / "home")
    before = processes(lab.home.folder)
    progress: list[str] = []
    assert launch.down(lab.home, progress.append)
    assert gone(before)
    assert any("it is killed" in line for line in progress), progress


def test_a_long_reset_is_waited_for(
    tmp_path: Path, flag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as the supervisor says that it works, whoever asked it waits, and is told so."""
    flag.unlink()
    with inject_bug(held(flag, _IN_THE_FILLING)):
        lab = Lab.up(tmp_path / "home")
    try:
        monkeypatch.setattr(control, "_LOOK_S", 0.05)
        monkeypatch.setattr(control, "_SILENCE_S", 3.0)
        progress: list[str] = []
        flag.touch()
        ended = run(lambda: control.tell(lab.home, "reset", progress.append))
        wait_until(
            lambda: any("has worked for 6 s" in line for line in progress), "it is waited for", 240
        )
        assert not ended
        flag.unlink()
        wait_until(lambda: ended == ["done"], "the reset is done", 240)
        assert lab.order().order_id
    finally:
        lab.down()


def run(work: Callable[[], None]) -> list[str]:
    """Do work beside; the list says how it ended, once it has."""
    ended: list[str] = []

    def ending() -> None:
        try:
            work()
            ended.append("done")
        except Exception as error:
            ended.append(repr(error))

    threading.Thread(target=ending, daemon=True).start()
    return ended


def test_a_lock_tells_who_holds_it(tmp_path: Path) -> None:
    """The name in it counts for as long as that process lives: a later one is another."""
    home = Home(tmp_path / "home").make()
    assert holder.holder_of(home) is None
    with home.lock_file.open("w") as lock:
        holder.sign(lock.fileno(), os.getpid())
    owner = holder.holder_of(home)
    assert owner
    assert (owner.pid, owner.is_alive, owner.is_stopped) == (os.getpid(), True, False)
    home.lock_file.write_text(f'{{"pid": {os.getpid()}, "birth": "{owner.birth}0"}}')
    assert holder.holder_of(home) is None
