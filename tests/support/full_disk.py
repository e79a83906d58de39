"""The story of a full disk, told on a lab that lies on a small one of its own.

`python -m tests.support.full_disk HOME` tells it, and says in one line what did not hold. It
is a process of its own, since whoever counts into a file on a full disk may die of that.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from labkit.home import Home
from labkit.lab import Lab
from labkit.matrix.labs import open_lab
from labkit.ops import in_flight
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.history import History
from tests.support.small_disk import small_disk

_ROOT = Path(__file__).parents[1]
_WRITTEN = "supervisor.write_state.after_rename"  # crossed after each try
_SECONDS = 60.0  # for whatever is waited for: only a lab that does not come back takes that long


def tell_on_a_small_disk() -> str:
    """Tell the story; returns what did not hold, or nothing.

    Raises:
        CannotMount: there can be no small disk here.
    """
    with (
        tempfile.TemporaryDirectory(prefix="disk-") as folder,
        small_disk(Path(folder) / "small") as disk,
    ):
        return tell(disk / "lab")


def tell(home: Path) -> str:
    """Tell the story in a process of its own; returns what did not hold, or nothing."""
    command = [sys.executable, "-m", "tests.support.full_disk", str(home)]
    run_ = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if run_.returncode < 0:
        return f"who counts died of the full disk, of {signal.Signals(-run_.returncode).name}"
    if run_.returncode == 0:
        return ""
    return (run_.stdout + run_.stderr).strip().rpartition("\n")[2]


def main(home: Path) -> None:
    """Tell the story."""
    lab = open_lab(home, patient=True)
    try:
        history = _live_through_it(lab)
        _settle(home)
        history.check()
    finally:
        lab.down()


def _live_through_it(lab: Lab) -> History:
    """Order while the disk is full, kill a service meanwhile, and order when there is room."""
    history = History(lab.home.folder)
    assert history.place(money_paid=1_00).placed, "no order is placed before the disk is full"
    before = _pids(lab)
    with history.buying(clients=2, money_paid=1_00) as answers:
        with lab.faults.disk_full() as full:
            wait_until(lambda: full.times, "somebody met the full disk", _SECONDS)
            wait_until(
                lambda: _kill_unnoticed(lab, before), "the state cannot be written", _SECONDS
            )
            count = len(answers)
            _watched(
                before,
                lambda: any(answer.status == 503 for answer in answers[count:]),
                "503 is told",
            )
        _watched(before, lambda: _is_back(lab, before["goods"]), "goods is back when there is room")
        count = len(answers)
        wait_until(
            lambda: any(answer.placed for answer in answers[count:]),
            "orders are placed again",
            _SECONDS,
        )
    dead = [name for name, pid in before.items() if name != "goods" and not _lives(pid)]
    if dead:
        raise AssertionError(f"{', '.join(dead)} died of the full disk")
    odd = {answer.status for answer in history.answers} - {200, 202, 503}
    if odd:
        raise AssertionError(f"answered with {odd} while the disk was full")
    return history


def _kill_unnoticed(lab: Lab, before: dict[str, int]) -> bool:
    """Kill goods; True if the supervisor took note of that, and could not write it down.

    The disk is filled up again many times a second: in between a state may just fit.
    """
    written = lab.home.state_file.stat().st_mtime_ns
    tried = lab.faults.hits(_WRITTEN)
    goods = _pids(lab)["goods"]
    if goods and _lives(goods):
        os.kill(goods, signal.SIGKILL)
    _watched(before, lambda: lab.faults.hits(_WRITTEN) > tried, "the supervisor takes note")
    return lab.home.state_file.stat().st_mtime_ns == written


def _watched(before: dict[str, int], condition: Callable[[], bool], what: str) -> None:
    """Wait until something is true, but for no longer than the supervisor lives."""
    wait_until(lambda: condition() or not _lives(before["supervisor"]), what, _SECONDS)
    if not _lives(before["supervisor"]):
        raise AssertionError("the supervisor died of the full disk")


def _settle(home: Path) -> None:
    """Wait until nothing is on its way, and look at every invariant."""
    with closing(Reader(Home(home))) as reader:
        unsettled = in_flight.settle(reader, _SECONDS)
        assert not unsettled, f"still on its way after the full disk: {unsettled[:3]}"
        broken = [verdict for verdict in check.check(reader) if not verdict["held"]]
        assert not broken, f"broken by the full disk: {broken}"


def _pids(lab: Lab) -> dict[str, int]:
    """Name → process, as long as each has one instance."""
    status = launch.status(lab.home)
    return {"supervisor": status["supervisor"]} | {
        process["name"]: process["pid"] for process in status["services"]
    }


def _is_back(lab: Lab, before: int) -> bool:
    services: list[dict[str, Any]] = launch.status(lab.home)["services"]
    return any(
        service["name"] == "goods" and service["state"] == "up" and service["pid"] != before
        for service in services
    )


def _lives(pid: int) -> bool:
    """Return True if a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        sys.exit(text[:2_000])
