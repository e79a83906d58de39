"""Ending a lab from outside, in whatever state it is; nothing of it is left, or comes up later."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from labkit.home import Home
from labkit.stack.supervisor import spawn
from labkit.stack.supervisor.holder import Holder, holder_of, is_up

_DOWN_SECONDS = 10.0
_LOOK_SECONDS = 0.02


def down(home: Home, progress: Callable[[str], None] = lambda _: None) -> bool:
    """Stop everything, and return when it is gone.

    Args:
        home: where the lab lives.
        progress: told what is done to a supervisor that does not go by itself.

    Returns:
        Whether a lab was up.

    Raises:
        RuntimeError: it cannot be stopped, because its supervisor is on another machine.
    """
    was_up = is_up(home)
    if was_up:
        _end_holder(_find_holder(home), progress)
    _end_recorded(home)
    return was_up


def _find_holder(home: Home) -> Holder | None:
    """Wait until the supervisor has signed the lock; None where it is gone before."""
    deadline = time.monotonic() + _DOWN_SECONDS
    while is_up(home):
        if holder := holder_of(home):
            return holder
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"a supervisor that is no process of this machine holds {home.lock_file}: "
                "labkit down must run where labkit up did"
            )
        time.sleep(_LOOK_SECONDS)
    return None


def _end_holder(holder: Holder | None, progress: Callable[[str], None]) -> None:
    """Tell a supervisor to go, and kill it where it does not; return when it is gone."""
    if holder is None:
        return
    if holder.stands_still:
        progress(f"the supervisor (pid {holder.pid}) stands still: it is woken, and told to go")
    _signal(holder, signal.SIGTERM)
    _signal(holder, signal.SIGCONT)
    deadline = time.monotonic() + _DOWN_SECONDS
    while holder.lives:
        if time.monotonic() > deadline:
            progress(f"the supervisor (pid {holder.pid}) does not go: it is killed")
            _signal(holder, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def _signal(holder: Holder, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it is gone by now
        os.kill(holder.pid, how)


def end(home: Home, supervisor: "subprocess.Popen[bytes]") -> None:
    """End a supervisor that this process has started, and all that it started."""
    supervisor.terminate()  # it is our child: nothing has to be opened to find it
    supervisor.send_signal(signal.SIGCONT)
    try:
        supervisor.wait(_DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
    _end_recorded(home)


def _end_recorded(home: Home) -> None:
    """End what a supervisor has left behind, and wait until it is gone.

    Where its state cannot be read, all have ended with the supervisor: they hold its lifeline.
    """
    recorded = []
    with suppress(ValueError):
        recorded = home.state().get("processes", [])
    while spawn.kill_left_over(recorded):
        time.sleep(_LOOK_SECONDS)
