"""Starting processes: forked from the warm parent where that is safe, else begun anew."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from labkit.boot import boot_id

FORKS = sys.platform == "linux"  # on macOS, system libraries break in a forked child
_PR_SET_PDEATHSIG = 1
#: Of /proc/PID/stat (proc(5)): letters of a state in which a process is no more, and the place of
#: its start, in ticks since the boot, after the name.
_ENDED, _STARTED = "ZX", 22 - 3


def fork(work: Callable[[], None], log: Path, keep: tuple[int, ...] = ()) -> int:
    """Run a function in a forked child, its output in a log file.

    Args:
        work: what to do; the child ends with it.
        log: where its output is appended.
        keep: descriptors that the child may use; every other one of the parent is closed in it,
            because a lock or a pipe that a child holds on to outlives its owner.

    Returns:
        The child's process id.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _redirect(log)
        _close_all_but({0, 1, 2, *keep})
        work()
        code = 0
    except BaseException as error:  # the child must never return into the parent's code
        with suppress(OSError):  # also where its log cannot be written, as on a full disk
            traceback.print_exc()
            print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def spawn(module: str, spec: dict[str, object], log: Path, keep: tuple[int, ...]) -> int:
    """Run a module in a new Python, given a JSON argument; for where forking is unsafe."""
    with log.open("ab") as output:
        command = [sys.executable, "-P", "-m", module, json.dumps(spec)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=keep
        ).pid


def run_program(command: list[str], log: Path) -> int:
    """Start a program that knows nothing of lifelines; on Linux the kernel ends it with us."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=_die_with_parent if FORKS else None,  # we have one thread
        ).pid  # fmt: skip


def ended(pid: int) -> bool:
    """Whether a child of ours has ended; the system then forgets it."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # the standard library, which started it, took note before us
        return True


def birth(pid: int) -> str | None:
    """Return what names a process for ever, together with its pid; None where it is gone.

    It is counted from the boot of the machine. A time of the wall clock would be another one each
    time that somebody sets the clock, and a lab that runs would not be recognized.
    """
    return _birth_on_linux(pid) if FORKS else _birth_on_macos(pid)


def _birth_on_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # from the third on: the second may hold anything
    return None if fields[0] in _ENDED else f"{boot_id()}/{fields[_STARTED]}"


def _birth_on_macos(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # psutil 7.1 to 7.2: what the kernel noted when the process began. Its public method, which
        # alone its types know, moves that along with the wall clock.
        return f"{boot_id()}/{process._proc.create_time(monotonic=True)}"  # type: ignore[attr-defined]
    except psutil.NoSuchProcess:
        return None


def kill_left_over(recorded: list[dict[str, Any]]) -> int:
    """End what an earlier run left behind, and only that.

    Args:
        recorded: pid and birth of each process of that run.

    Returns:
        How many were still there.
    """
    left = [one for one in recorded if birth(int(one["pid"])) == one["birth"]]
    for one in left:
        os.kill(int(one["pid"]), signal.SIGKILL)
    return len(left)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _close_all_but(keep: set[int]) -> None:
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number not in keep:
            try:
                os.close(number)
            except OSError:  # the descriptor that listed the folder
                continue


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
