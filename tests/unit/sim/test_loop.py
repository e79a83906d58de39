"""The loop in virtual time: what asyncio promises holds on it, and a second costs nothing."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from labkit.sim import process
from labkit.sim.loop import SimLoop
from labkit.sim.process import Process


def run(work: Coroutine[Any, Any, Any], loop: SimLoop) -> Any:
    """Run a coroutine on a loop to its end."""
    task = loop.create_task(work)
    assert loop.run_until(task.done, 1_000_000)
    return task.result()


def new_loop() -> SimLoop:
    return SimLoop(process.not_before)  # type: ignore[abstract]  # what it lacks raises


def test_a_day_passes_at_once() -> None:
    """Sleeping, time-outs and waiting take virtual time, and hardly any of ours."""
    loop, began = new_loop(), time.monotonic()

    async def sleep_long() -> list[float]:
        times = []
        await asyncio.sleep(86_400)
        times.append(loop.time())
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(60)
        except TimeoutError:
            times.append(loop.time())
        return times

    assert run(sleep_long(), loop) == [86_400, 86_405]
    assert time.monotonic() - began < 60


def test_what_is_due_at_one_time_keeps_its_order() -> None:
    """Two runs do the same in the same order: nothing but the program decides."""

    async def note(number: int, notes: list[int], seconds: float) -> None:
        await asyncio.sleep(seconds)
        notes.append(number)

    async def many() -> list[int]:
        notes: list[int] = []
        await asyncio.gather(*(note(number, notes, number % 3) for number in range(30)))
        return notes

    first, second = (run(many(), new_loop()) for _ in range(2))
    assert first == second == sorted(range(30), key=lambda number: (number % 3, number))


def test_nothing_of_a_process_runs_after_its_death() -> None:
    """A process dies between two of its lines: what it waited for does not wake it, and nobody
    else ends with it."""
    loop, notes = new_loop(), []

    async def work(name: str) -> None:
        notes.append(f"{name} began")
        try:
            await asyncio.sleep(2)
            notes.append(f"{name} ended")
        finally:
            notes.append(f"{name} cleaned up")

    dying = Process("goods", 1, 1)
    dying.run(loop.create_task, work("goods"))
    loop.create_task(work("order"))
    loop.call_later(1, dying.die)
    loop.run_until(lambda: False, 10)
    assert sorted(notes[:2]) == ["goods began", "order began"]
    assert notes[2:] == ["order ended", "order cleaned up"]
