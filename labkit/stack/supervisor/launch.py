"""The start of a lab from outside: what the command line and the notebooks share."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from labkit.files import locked, try_lock
from labkit.home import Home
from labkit.settings import Settings
from labkit.stack.setup.backends import Backends, Stack
from labkit.stack.supervisor import control, spawn
from labkit.stack.supervisor.control import NotUp
from labkit.stack.supervisor.ending import down, end, kill
from labkit.stack.supervisor.holder import Holder, holder_of, is_up, sign
from labkit.stack.supervisor.status import status
from labkit.state import Phase
from labkit.waiting import poll_until

__all__ = ["EMBEDDED", "down", "is_up", "status", "up"]

_UP_S = 90  # a whole class may press the button at once
_LAST_CHARACTERS = 400
_PAGE_BYTES = 4096
EMBEDDED = Backends(Stack.embedded)


class _NotUp(Exception):
    """The supervisor did not bring the lab up; its log says why."""


def up(
    home: Home,
    instances: Mapping[str, int] | None = None,
    backends: Backends = EMBEDDED,
    *,
    dies_with_us: bool = False,
    traced: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> "subprocess.Popen[bytes] | None":
    """Start everything, and return when all of it answers, along each edge of the wiring.

    Where that fails or is interrupted, nothing of it stays.

    Args:
        home: where the lab lives.
        instances: service → how many; one of each by default.
        backends: the backends to use; a lab that is up already keeps its own.
        dies_with_us: whether the lab ends when this process ends, however it ends.
        traced: whether every request is traced, where `LABKIT_TRACING` does not say.
        on_progress: called with what is being waited for.

    Returns:
        The supervisor's process; None where the lab was up already.

    Raises:
        RuntimeError: it cannot come up; one line that says what to do.
        ValueError: a setting has a value that it cannot have.
    """
    if home.state().get("phase") == Phase.FOUNDED:  # its services use other databases
        text = f"{home.folder} is of labkit init, and its services of labkit serve: name another"
        raise RuntimeError(f"{text} home for labkit up")
    _make(home)
    with locked(home.folder / "up.lock"):
        lock = _lock_or_join(home, on_progress)
        if lock is None:
            return None
        spec = {
            "home": str(home.folder),
            "instances": dict(instances or {}),
            "lock": lock,
            "dies_with_stdin": dies_with_us,
            "stack": backends.stack,
        }
        environment = {**_environment(traced), **backends.servers}
        with _gate() as (gate, open_gate):
            log_size, supervisor = _start(home, spec | {"gate": gate}, environment)
            try:
                open_gate()
                from labkit.stack.supervisor import health  # while the supervisor imports the rest

                _wait(home, supervisor, on_progress)
                health.await_whole(home, on_progress)
            except _NotUp:
                end(home, supervisor)
                raise RuntimeError(_complaint(home, log_size)) from None
            except BaseException:  # Ctrl-C: what was started must not come up behind our back
                end(home, supervisor)
                raise
        return supervisor


@contextmanager
def _gate() -> Iterator[tuple[int, Callable[[], None]]]:
    """Make a gate for the supervisor, which works only after it is open.

    Ctrl-C may come right after the fork, when nobody here knows the new process yet. Then the gate
    closes with this block, and the process ends by itself.

    Yields:
        The descriptor on which the supervisor waits, and what opens the gate.
    """
    reader, writer = os.pipe()
    try:
        yield reader, lambda: spawn.open_gate(writer)
    finally:
        os.close(reader)
        os.close(writer)


def _lock_or_join(home: Home, on_progress: Callable[[str], None]) -> int | None:
    """Take the home's lock for a supervisor that is to be started; None where a lab is up.

    A supervisor that is dying holds the lock for a moment, and so does one that somebody else just
    started.
    """
    lock: int | None = None

    def is_locked_or_serves() -> bool:
        nonlocal lock
        lock = try_lock(home.lock_file)
        holder = None if lock is not None else holder_of(home)
        if lock is not None or (holder and _serves(home, holder)):
            return True
        if holder and holder.is_stopped:
            raise _stuck(home, "stands still")
        on_progress("waiting for the supervisor that is there")
        return False

    if not poll_until(is_locked_or_serves, _UP_S):
        raise _stuck(home, "hangs")
    if lock is not None:
        os.ftruncate(lock, 0)
    return lock


def _stuck(home: Home, state: str) -> RuntimeError:
    return RuntimeError(f"the supervisor of {home.folder} {state}: labkit down {home.option}")


def _serves(home: Home, holder: Holder) -> bool:
    """Return True if a supervisor has brought its lab up, and answers."""
    state = home.state()
    if not holder.wrote(state) or state.get("phase") != Phase.UP or holder.is_stopped:
        return False
    try:
        control.tell(home, "ping")
    except (NotUp, RuntimeError):
        return False
    return True


def _start(
    home: Home, spec: Mapping[str, Any], environment: Mapping[str, str]
) -> "tuple[int, subprocess.Popen[bytes]]":
    """Start a supervisor, which inherits the lock, so that it holds it from its first moment.

    Returns:
        The size of its log before, and its process.
    """
    lock = spec["lock"]
    lifeline = _lifeline() if spec["dies_with_stdin"] else None
    try:
        home.filling_file.unlink(missing_ok=True)  # a fault of an earlier run left it
        Settings()  # a value that cannot be is reported before anything is started
        with (home.logs / "supervisor.log").open("ab") as output:
            log_size = output.tell()
            supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "labkit.stack", json.dumps(spec)],
                stdin=subprocess.DEVNULL if lifeline is None else lifeline,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
                pass_fds=(lock, spec["gate"]),
            )
        _sign_or_end(lock, supervisor)  # its imports take long: `labkit down` may come before
        return log_size, supervisor
    finally:
        os.close(lock)  # it is the supervisor's alone
        if lifeline is not None:
            os.close(lifeline)


def _sign_or_end(lock: int, supervisor: "subprocess.Popen[bytes]") -> None:
    """Sign the lock for a supervisor; end it where that fails: nobody would find it.

    Raises:
        RuntimeError: there is no room for the signature.
    """
    try:
        sign(lock, supervisor.pid)
    except OSError as error:
        kill(supervisor)
        raise RuntimeError(f"the lab did not come up: {error.strerror}: make room") from error


def _lifeline() -> int:
    """Return the reading end of a pipe whose writing end is open for as long as this process lives.

    The writing end is a bare descriptor, so that no garbage collector closes it when a notebook's
    cell runs again. A child that this process forks, as `multiprocessing` does, closes it: the lab
    must not outlive us because of a child.
    """
    reader, writer = os.pipe()
    os.register_at_fork(after_in_child=lambda: os.close(writer))
    return reader


def _environment(traced: bool) -> dict[str, str]:
    """Return the supervisor's environment, in which a tracing that is set already stays.

    Where spans are to be exported, they are made.
    """
    is_exported = os.environ.get("OTEL_TRACES_EXPORTER", "none") not in ("", "none")
    return {"LABKIT_TRACING": "on" if traced or is_exported else "off", **os.environ}


def _make(home: Home) -> None:
    try:
        home.make()
    except OSError as error:
        text = f"cannot make the home {home.folder}: {error.strerror}; name another with --home"
        raise RuntimeError(text) from error


def _wait(
    home: Home, supervisor: "subprocess.Popen[bytes]", on_progress: Callable[[str], None]
) -> None:
    us = Holder(supervisor.pid, spawn.birth(supervisor.pid) or "")

    def has_come_up() -> bool:
        state = home.state()
        is_ours = us.wrote(state)  # an earlier one may have had the same pid
        if is_ours and state.get("phase") == Phase.UP:
            return True
        if supervisor.poll() is not None:
            raise _NotUp("the supervisor died")
        services = state.get("services", []) if is_ours else []
        starting = [service["name"] for service in services if service["state"] != "up"]
        on_progress(f"waiting for {', '.join(starting)}" if starting else "loading the services")
        return False

    if not poll_until(has_come_up, _UP_S):
        raise _NotUp("the lab did not come up in time")


def _complaint(home: Home, log_size: int) -> str:
    """Return the last line that the supervisor has logged since its start, as an error message."""
    log = home.logs / "supervisor.log"
    with log.open("rb") as file:
        file.seek(log_size)
        lines = file.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][-_LAST_CHARACTERS:] if lines else _explain_silence(home)
    return f"the lab did not come up: {last} (log: {log})"


def _explain_silence(home: Home) -> str:
    if shutil.disk_usage(home.logs).free < _PAGE_BYTES:
        return f"the disk that {home.folder} lies on is full: make room"
    return "no reason given"
