"""A part without which a process is of no use ends the process when it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from labkit.runtime import critical

ROOT = Path(__file__).parents[3]
_BEGIN = """
import asyncio, threading, time
from labkit.runtime import critical as vital

def fail(_argument=None):
    raise RuntimeError("a defect")

async def fail_soon():
    fail()

async def end_soon():
    pass

async def run(work):
    task = vital.create_task(work, "relay")
    await asyncio.Event().wait()
"""
ENDS = {
    "a thread": "vital.VitalThread(fail, 'committer').start()",
    "a timer": "vital.start_timer(0.01, fail, None)",
    "a task": "asyncio.run(run(fail_soon()))",
    "a task that returns": "asyncio.run(run(end_soon()))",
}


@pytest.mark.parametrize("how", ENDS.values(), ids=ENDS)
def test_its_process_ends(how: str) -> None:
    """With a status of its own, and a word to the log, though the main thread would go on."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{_BEGIN}\n{how}\nthreading.Event().wait()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 70
    assert "has ended, and so does this process" in ended.stderr


def test_a_task_that_is_cancelled_ends_nothing() -> None:
    """That is how a service stops."""
    stop = """
async def main():
    task = vital.create_task(asyncio.sleep(1000), "relay")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", _BEGIN + stop], cwd=ROOT, timeout=120)
    assert ended.returncode == 0


def test_the_health_check_names_who_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread in the midst of one turn for longer than any can take; not one that waits."""
    working, waiting = (critical.VitalThread(lambda: None, name) for name in ("working", "waiting"))
    with working.turn():
        assert critical.stuck() == []
        monkeypatch.setattr(critical, "_STUCK_S", -1.0)
        assert critical.stuck() == ["working"]
    assert critical.stuck() == []
    assert not waiting.is_stuck
