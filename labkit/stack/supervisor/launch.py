"""Bringing a lab up from outside: what the command line and the notebooks share."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from labkit.home import FOUNDED, Home, locked, try_lock
from labkit.settings import Settings
from labkit.stack.setup.backends import Ground, Stack
from labkit.stack.supervisor import control, health, spawn
from labkit.stack.supervisor.control import NotUp
from labkit.stack.supervisor.ending import down, end
from labkit.stack.supervisor.holder import Holder, holder_of, is_up, sign
from labkit.stack.supervisor.recorded import NOTHING, status

__all__ = ["EMBEDDED", "NOTHING", "down", "is_up", "status", "up"]

_UP_SECONDS = 90  # a whole class may press the button at once
_LOOK_SECONDS = 0.02
_LAST_LINES = 400
_PAGE = 4096
EMBEDDED = Ground(Stack.embedded)


class _NotUp(Exception):
    """The supervisor did not bring the lab up; its log says why."""


def up(
    home: Home,
    instances: Mapping[str, int] | None = None,
    ground: Ground = EMBEDDED,
    *,
    dies_with_us: bool = False,
    traced: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> "subprocess.Popen[bytes] | None":
    """Start everything, and return when all of it answers, along each edge of the wiring.

    Where that fails or is interrupted, nothing of it stays.

    Args:
        home: where the lab lives.
        instances: service → how many; one of each where not said.
        ground: what it stands on; where a lab is up already, that one's stays.
        dies_with_us: whether the lab goes when this process goes, however it goes.
        traced: whether every request is traced, where `LABKIT_TRACING` does not say.
        progress: told what is being waited for.

    Returns:
        The supervisor's process; None where the lab was up already.

    Raises:
        RuntimeError: it cannot come up; one line that says what to do.
        ValueError: a setting has a value that it cannot have.
    """
    if home.state().get("phase") == FOUNDED:  # a supervisor would give services other databases
        text = f"{home.folder} is of labkit init, and its services of labkit serve: name another"
        raise RuntimeError(f"{text} home for labkit up")
    _make(home)
    with locked(home.folder / "up.lock"):
        lock = _lock_or_join(home, progress)
        if lock is None:
            return None
        spec = {
            "home": str(home.folder),
            "instances": dict(instances or {}),
            "lock": lock,
            "dies_with_stdin": dies_with_us,
            "stack": ground.stack,
        }
        environment = {**_environment(traced), **ground.servers}
        began, supervisor = _start(home, spec, lock, dies_with_us, environment)
        try:
            _wait(home, supervisor, progress)
            health.await_whole(home, progress)
        except _NotUp:
            end(home, supervisor)
            raise RuntimeError(_complaint(home, began)) from None
        except BaseException:  # Ctrl-C: what was started must not come up behind our back
            end(home, supervisor)
            raise
        return supervisor


def _lock_or_join(home: Home, progress: Callable[[str], None]) -> int | None:
    """Take the home's lock for a supervisor that is to be started; None where a lab is up.

    One that is dying holds the lock for a moment, and one that somebody else just started too.
    """
    deadline = time.monotonic() + _UP_SECONDS
    while (lock := try_lock(home.lock_file)) is None:
        holder = holder_of(home)
        if holder and _serves(home, holder):
            return None
        hangs = holder is not None and holder.stands_still
        if hangs or time.monotonic() > deadline:
            text = f"the supervisor of {home.folder} {'stands still' if hangs else 'hangs'}"
            raise RuntimeError(f"{text}: labkit down --home {home.folder}")
        progress("waiting for the supervisor that is there")
        time.sleep(_LOOK_SECONDS)
    os.ftruncate(lock, 0)
    return lock


def _serves(home: Home, holder: Holder) -> bool:
    """Whether a supervisor has brought its lab up, and answers."""
    state = home.state()
    if not holder.wrote(state) or state.get("phase") != "up" or holder.stands_still:
        return False
    try:
        control.tell(home, "ping")
    except (NotUp, RuntimeError):
        return False
    return True


def _start(
    home: Home, spec: dict[str, Any], lock: int, dies_with_us: bool, environment: dict[str, str]
) -> "tuple[int, subprocess.Popen[bytes]]":
    """Start a supervisor, which inherits the lock, so that it is there from its first moment.

    Returns:
        Where its words begin in the log, and its process.
    """
    lifeline = _lifeline() if dies_with_us else None
    try:
        home.filling_file.unlink(missing_ok=True)  # a fault of an earlier run left it
        Settings()  # what it cannot be is told before anything is started
        with (home.logs / "supervisor.log").open("ab") as output:
            began = output.tell()
            supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "labkit.stack", json.dumps(spec)],
                stdin=subprocess.DEVNULL if lifeline is None else lifeline,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
                pass_fds=(lock,),
            )
        _sign_or_end(lock, supervisor)  # its imports take long: it may be told to go by then
        return began, supervisor
    finally:
        os.close(lock)  # it is the supervisor's alone
        if lifeline is not None:
            os.close(lifeline)


def _sign_or_end(lock: int, supervisor: "subprocess.Popen[bytes]") -> None:
    """Write a supervisor's name into its lock; end it where that cannot be: nobody would find it.

    Raises:
        RuntimeError: there is no room for the name.
    """
    try:
        sign(lock, supervisor.pid)
    except OSError as error:
        supervisor.kill()
        supervisor.wait()
        raise RuntimeError(f"the lab did not come up: {error.strerror}: make room") from error


def _lifeline() -> int:
    """Return the reading end of a pipe whose writing end is open for as long as this process lives.

    A bare descriptor, so that no garbage collector closes it when a notebook's cell runs again. A
    child that this process forks, as `multiprocessing` does, closes it: the lab must not outlive us
    because of a child.
    """
    reader, writer = os.pipe()
    os.register_at_fork(after_in_child=lambda: os.close(writer))
    return reader


def _environment(traced: bool) -> dict[str, str]:
    """The supervisor's: where spans are to be exported, they are made. What is set stays."""
    exported = os.environ.get("OTEL_TRACES_EXPORTER", "none") != "none"
    return {"LABKIT_TRACING": "on" if traced or exported else "off", **os.environ}


def _make(home: Home) -> None:
    try:
        home.make()
    except OSError as error:
        text = f"cannot make the home {home.folder}: {error.strerror}; name another with --home"
        raise RuntimeError(text) from error


def _wait(
    home: Home, supervisor: "subprocess.Popen[bytes]", progress: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    us = Holder(supervisor.pid, spawn.birth(supervisor.pid) or "")
    while True:
        state = home.state()
        ours = us.wrote(state)  # an earlier one may have had the same pid
        if ours and state.get("phase") == "up":
            return
        if supervisor.poll() is not None:
            raise _NotUp("the supervisor died")
        if time.monotonic() > deadline:
            raise _NotUp("the lab did not come up in time")
        services = state.get("services", []) if ours else []
        waiting = [service["name"] for service in services if service["state"] != "up"]
        progress(f"waiting for {', '.join(waiting)}" if waiting else "loading the services")
        time.sleep(_LOOK_SECONDS)


def _complaint(home: Home, began: int) -> str:
    """The supervisor's own last words, in one line."""
    log = home.logs / "supervisor.log"
    with log.open("rb") as file:
        file.seek(began)
        lines = file.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][-_LAST_LINES:] if lines else _why_nothing_is_said(home)
    return f"the lab did not come up: {last} (log: {log})"


def _why_nothing_is_said(home: Home) -> str:
    if shutil.disk_usage(home.logs).free < _PAGE:
        return f"the disk that {home.folder} lies on is full: make room"
    return "no reason given"
