"""Ending a lab from outside, in whatever state it is; nothing of it is left, or comes up later."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress

from labkit.home import Home
from labkit.stack.supervisor import spawn
from labkit.stack.supervisor.holder import Holder, holder_of, is_up
from labkit.waiting import poll_until

_DOWN_S = 10.0
#: A process that is killed is gone at once, unless the kernel holds it (state D).
_KILL_S = 10.0


def down(home: Home, on_progress: Callable[[str], None] = lambda _: None) -> bool:
    """Stop everything, and return when it is gone.

    Args:
        home: where the lab lives.
        on_progress: called with what is done to a supervisor that does not go by itself.

    Returns:
        True if a lab was up.

    Raises:
        RuntimeError: it cannot be stopped: its supervisor is on another machine, or the kernel
            holds a process of it.
    """
    was_up = is_up(home)
    if was_up:
        _end_holder(_find_holder(home), on_progress)
    _end_recorded(home)
    return was_up


def _find_holder(home: Home) -> Holder | None:
    """Wait until the supervisor has signed the lock; None where it is gone before."""
    poll_until(lambda: holder_of(home) or not is_up(home), _DOWN_S)
    holder = holder_of(home)
    if holder is None and is_up(home):
        raise RuntimeError(
            f"a supervisor that is no process of this machine holds {home.lock_file}: "
            "labkit down must run where labkit up did"
        )
    return holder


def _end_holder(holder: Holder | None, on_progress: Callable[[str], None]) -> None:
    """Send a supervisor SIGTERM, and SIGKILL where it does not go; return when it is gone."""
    if holder is None:
        return
    if holder.is_stopped:
        on_progress(f"the supervisor (pid {holder.pid}) stands still: it is woken, and told to go")
    _signal(holder, signal.SIGTERM)
    _signal(holder, signal.SIGCONT)
    if not poll_until(lambda: not holder.is_alive, _DOWN_S):
        on_progress(f"the supervisor (pid {holder.pid}) does not go: it is killed")
        _signal(holder, signal.SIGKILL)
        if not poll_until(lambda: not holder.is_alive, _KILL_S):
            raise _unkillable([holder.pid])


def _unkillable(pids: Iterable[int]) -> RuntimeError:
    text = ", ".join(map(str, pids))
    return RuntimeError(
        f"the kernel holds what was killed (pid {text}, see ps -o pid,stat,wchan): as long as it "
        "waits there, for a disk or a file server, nothing can end it; then: labkit down again"
    )


def _signal(holder: Holder, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it is gone by now
        os.kill(holder.pid, how)


def end(home: Home, supervisor: "subprocess.Popen[bytes]") -> None:
    """End a supervisor that this process has started, and all that it started."""
    supervisor.terminate()  # it is our child: nothing has to be opened to find it
    supervisor.send_signal(signal.SIGCONT)
    try:
        supervisor.wait(_DOWN_S)
    except subprocess.TimeoutExpired:
        kill(supervisor)
    _end_recorded(home)


def kill(supervisor: "subprocess.Popen[bytes]") -> None:
    """Kill a supervisor that this process has started, and wait until it is gone.

    Raises:
        RuntimeError: the kernel holds it.
    """
    supervisor.kill()
    try:
        supervisor.wait(_KILL_S)
    except subprocess.TimeoutExpired:
        raise _unkillable([supervisor.pid]) from None


def _end_recorded(home: Home) -> None:
    """End what a supervisor has left behind, and wait until it is gone.

    Where its state cannot be read, all have ended with the supervisor: they hold its lifeline.
    """
    recorded = []
    with suppress(ValueError):
        recorded = home.state().get("processes", [])
    if not poll_until(lambda: not spawn.kill_left_over(recorded), _KILL_S):
        raise _unkillable(spawn.kill_left_over(recorded))
