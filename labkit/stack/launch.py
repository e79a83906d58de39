"""Bringing a lab up and down from outside: what the command line and the notebooks share."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from labkit.home import DATABASES, ENDPOINTS, FOUNDED, Home, locked, try_lock
from labkit.settings import Settings
from labkit.stack import children, control
from labkit.stack.control import NotUp
from labkit.stack.grounds import Ground, Stack

_UP_SECONDS = 90  # a whole class may press the button at once
_DOWN_SECONDS = 10
_LAST_LINES = 400
_PAGE = 4096
EMBEDDED = Ground(Stack.embedded)

#: What `labkit status` says of a home in which nothing ever ran.
NOTHING: dict[str, Any] = {
    "stack": None,
    "endpoints": dict.fromkeys(ENDPOINTS),
    "databases": dict.fromkeys(DATABASES),
    "services": [],
}


def status(home: Home) -> dict[str, Any]:
    """What runs in a home, in the shape that `labkit status --json` prints."""
    state = home.state()
    if not is_up(home):
        stopped = [{**one, "pid": None, "endpoint": None, "state": "down"}
                   for one in state.get("services", [])]  # fmt: skip
        gone = {"endpoints": dict.fromkeys(ENDPOINTS), "services": stopped, "supervisor": None}
        state = {**NOTHING, **state, **gone}
    state = {**state, "home": str(home.folder)}
    return {key: state[key] for key in ("stack", "home", "endpoints", "databases", "services",
                                        "supervisor")}  # fmt: skip


def is_up(home: Home) -> bool:
    """Whether a supervisor lives in a home."""
    if not home.lock_file.exists():
        return False
    lock = try_lock(home.lock_file, only_look=True)
    if lock is None:
        return True
    os.close(lock)
    return False


def up(
    home: Home,
    instances: Mapping[str, int] | None = None,
    ground: Ground = EMBEDDED,
    *,
    dies_with_us: bool = False,
    traced: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> "subprocess.Popen[bytes] | None":
    """Start everything, and return when it is ready.

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
        if _somebody_answers(home):
            _wait(home, None, progress)
            return None
        home.filling_file.unlink(missing_ok=True)  # a fault of an earlier run left it
        Settings()  # what it cannot be is told before anything is started
        spec = {"home": str(home.folder), "instances": dict(instances or {}),
                "dies_with_stdin": dies_with_us, "stack": ground.stack}  # fmt: skip
        with (home.logs / "supervisor.log").open("ab") as output:
            began = output.tell()
            supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "labkit.stack", json.dumps(spec)],
                stdin=_lifeline() if dies_with_us else subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                env={**_environment(traced), **ground.servers},
            )  # fmt: skip
        try:
            _wait(home, supervisor, progress)
        except RuntimeError:
            raise RuntimeError(_complaint(home, began)) from None
        return supervisor


def down(home: Home) -> bool:
    """Stop everything, and return when it is gone.

    Returns:
        Whether a lab was up.
    """
    state = home.state()
    if not is_up(home):
        children.kill_left_over(state.get("processes", []))
        return False
    with suppress(NotUp):
        control.tell(home, "down")
    deadline = time.monotonic() + _DOWN_SECONDS
    while children.birth(state["supervisor"]) == state["supervisor_birth"]:
        if time.monotonic() > deadline:
            children.kill_left_over([
                {"pid": state["supervisor"], "birth": state["supervisor_birth"]},
                *home.state().get("processes", []),
            ])  # fmt: skip
        time.sleep(0.02)
    return True


def _somebody_answers(home: Home) -> bool:
    """Whether a supervisor answers; one that is dying holds its lock for a moment and does not."""
    deadline = time.monotonic() + _DOWN_SECONDS
    while is_up(home):
        try:
            control.tell(home, "ping")
        except NotUp:
            if time.monotonic() > deadline:
                text = f"the supervisor of {home.folder} hangs: labkit down --home {home.folder}"
                raise RuntimeError(text) from None
            time.sleep(0.02)
        else:
            return True
    return False


def _lifeline() -> int:
    """The reading end of a pipe whose writing end stays open for as long as this process lives.

    A bare descriptor, so that no garbage collector closes it when a notebook's cell runs again.
    """
    reader, _writer = os.pipe()
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
    home: Home, supervisor: "subprocess.Popen[bytes] | None", progress: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while True:
        state = home.state()
        ours = _is_of(state, supervisor)
        if ours and state.get("phase") == "up":
            return
        if supervisor is not None and supervisor.poll() is not None:
            raise RuntimeError("the supervisor died")
        if time.monotonic() > deadline:
            raise RuntimeError("the lab did not come up in time")
        services = state.get("services", []) if ours else []
        waiting = [one["name"] for one in services if one["state"] != "up"]
        progress(f"waiting for {', '.join(waiting)}" if waiting else "loading the services")
        time.sleep(0.02)


def _is_of(state: dict[str, Any], supervisor: "subprocess.Popen[bytes] | None") -> bool:
    """Whether a state was written by the supervisor that lives now, and not by an earlier one."""
    pid = state.get("supervisor")
    if supervisor is not None:
        return bool(pid == supervisor.pid)
    return bool(pid and children.birth(pid) == state["supervisor_birth"])


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
