"""Starting processes: forked from the warm parent where that is safe, else begun anew.

A new process waits at a gate until its parent has written down its pid: a parent that dies before
leaves no process behind that works unseen. And it dies with its parent: by the kernel on Linux, and
by the lifeline everywhere, a pipe whose other end the parent alone holds.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from labkit.boot import boot_id
from labkit.state import ProcessRecord

FORKS = sys.platform == "linux"  # on macOS, system libraries break in a forked child
_PR_SET_PDEATHSIG = 1
#: Of /proc/PID/stat (proc(5)): letters of a state in which a process is no more, and the place of
#: its start, in ticks since the boot, after the name.
_ENDED, _STARTED = "ZX", 22 - 3
_LIBC = ctypes.CDLL(None)
_GO_ON = b"\n"
#: A program that knows nothing of gates: a shell waits in its place, and becomes it.
_BEHIND_A_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "gate")


@dataclass(frozen=True)
class WaitingChild:
    """A child that waits at its gate.

    Attributes:
        pid: of the child.
        gate: descriptor of the pipe on which it waits; closed without a word, the child ends.
    """

    pid: int
    gate: int

    def go_on(self) -> None:
        """Let the child begin its work."""
        open_gate(self.gate)
        os.close(self.gate)


def open_gate(gate: int) -> None:
    """Let the child begin that waits at the other end of a pipe."""
    with suppress(BrokenPipeError):  # it died at the gate
        os.write(gate, _GO_ON)


def fork(
    work: Callable[[], None], log: Path, lifeline: int, keep: tuple[int, ...] = ()
) -> WaitingChild:
    """Run a function in a forked child, its output in a log file, as soon as its gate opens.

    Args:
        work: the child ends with it.
        log: where its output is appended.
        lifeline: the reading end of a pipe: the child ends when its other end is closed.
        keep: descriptors that the child may use; every other one of the parent is closed in it,
            because a lock or a pipe that a child holds on to outlives its owner.

    Raises:
        OSError: the system has no process, memory or descriptor left.
    """
    parent, (reader, gate) = os.getpid(), os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(gate)
        raise
    if pid:
        os.close(reader)
        return WaitingChild(pid, gate)
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _die_with(parent)
        _redirect(log)
        _close_all_but({0, 1, 2, reader, lifeline, *keep})
        hold_lifeline(lifeline)
        wait_at_gate(reader)
        work()
        code = 0
    except BaseException as error:  # the child must never return into the parent's code
        with suppress(OSError):  # also where its log cannot be written, as on a full disk
            traceback.print_exc()
            print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)


def spawn(
    module: str,
    spec: dict[str, object],
    log: Path,
    keep: tuple[int, ...],
    environment: Mapping[str, str],
) -> WaitingChild:
    """Run a module in a new Python, given a JSON argument; where forking is unsafe, or other code.

    The module waits at its gate, which is its standard input, and holds the lifeline by itself.

    Args:
        module: its name.
        spec: its argument.
        log: where its output is appended.
        keep: descriptors that it may use.
        environment: what its environment has besides ours.

    Raises:
        OSError: the system has no process, memory or descriptor left.
    """
    return _popen([sys.executable, "-P", "-m", module, json.dumps(spec)], log, keep, environment)


def run_program(command: list[str], log: Path) -> WaitingChild:
    """Start a program that knows nothing of lifelines; on Linux the kernel ends it with us.

    Raises:
        OSError: the system has no process, memory or descriptor left.
    """
    return _popen([*_BEHIND_A_GATE, *command], log, (), {})


def hold_lifeline(lifeline: int) -> None:
    """End this process at once when the other end of the lifeline is closed."""
    threading.Thread(target=_die_at_the_end_of, args=(lifeline,), daemon=True).start()


def wait_at_gate(reader: int) -> None:
    """Wait until the parent has written this process down; end where the parent died before."""
    if not os.read(reader, 1):
        os._exit(1)
    if reader:  # standard input stays what it is
        os.close(reader)


def ended(pid: int) -> bool:
    """Return True if a child of ours has ended; the system then forgets it."""
    return exit_status(pid) is not None


def exit_status(pid: int) -> int | None:
    """Return the status with which a child of ours ended (`waitpid`); None while it lives."""
    try:
        ended_pid, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # the standard library, which started it, took note before us
        return 0
    return status if ended_pid else None


def birth(pid: int) -> str | None:
    """Return what identifies a process for ever, with its pid; None where it is gone.

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


def kill_left_over(recorded: Iterable[ProcessRecord]) -> list[int]:
    """Kill the processes that an earlier run left behind, and only those.

    Args:
        recorded: pid and birth of each process of that run.

    Returns:
        The pids of those that were still there.
    """
    pids = [
        int(process["pid"])
        for process in recorded
        if birth(int(process["pid"])) == process["birth"]
    ]
    for pid in pids:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, signal.SIGKILL)
    return pids


def _popen(
    command: list[str], log: Path, keep: tuple[int, ...], environment: Mapping[str, str]
) -> WaitingChild:
    """Start a program whose standard input is its gate."""
    parent, (reader, gate) = os.getpid(), os.pipe()
    try:
        with log.open("ab") as output:
            pid = subprocess.Popen(
                command,
                stdin=reader,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                pass_fds=keep,
                preexec_fn=(lambda: _die_with(parent)) if FORKS else None,  # we have one thread
            ).pid
    except OSError:
        os.close(gate)
        raise
    finally:
        os.close(reader)
    return WaitingChild(pid, gate)


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


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process with its parent, also where the parent is dead by now."""
    if FORKS:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _die_at_the_end_of(lifeline: int) -> None:
    """Read the lifeline to its end: then nobody watches over this process, and it ends at once."""
    while os.read(lifeline, 1):
        pass
    os._exit(1)
