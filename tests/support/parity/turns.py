"""Threads that take turns: the one whose turn it is runs, and while it waits it drives the twin.

The scripts of the matrix block, as on a real lab: they send a request and wait for its answer, they
sleep, and two of them do something in a thread beside. Here a wait runs the twin's loop, in virtual
time. One thread runs at a time, and which one is next does not depend on the machine.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from labkit.sim.loop import SimLoop
from labkit.sim.process import Process

T = TypeVar("T")

_LONGEST_S = 120.0  # that anything takes to be answered, or to end


class Stuck(AssertionError):
    """Something that never ends in the twin."""


class _Wait:
    """A thread that waits for its turn."""

    def __init__(self, is_done: Callable[[], object], until: float) -> None:
        self.is_done = is_done
        self.until = until
        self.turn = threading.Event()
        self.error: BaseException | None = None


class Turns:
    """The turns of one life; it is the clock that its threads wait by.

    Args:
        loop: of the life.
    """

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._waits: list[_Wait] = []

    def monotonic(self) -> float:
        """Return the virtual seconds."""
        return self._loop.time()

    def sleep(self, seconds: float) -> None:
        """Wait so many virtual seconds."""
        self._wait(lambda: False, seconds)

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the twin, and wait for what it returns."""
        task: asyncio.Task[T] = self._loop.create_task(work)
        self.wait_for(task.done, "an answer")
        return task.result()

    def ask_in(self, process: Process, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in a process of the twin, and wait for what it returns."""
        task: asyncio.Task[T] = process.run(self._loop.create_task, work)
        self.wait_for(task.done, "an answer")
        return task.result()

    def wait_for(self, is_done: Callable[[], object], what: str) -> None:
        """Wait until something is true.

        Raises:
            Stuck: it never is.
        """
        if not self._wait(is_done, _LONGEST_S):
            raise Stuck(f"not within {_LONGEST_S:.0f} s: {what}")

    def begin(self, work: Callable[[], T]) -> "Beside[T]":
        """Run something in a thread, which has its first turn when this one waits."""
        return Beside(self, work)

    def enter(self) -> Callable[[], object]:
        """Return what a new thread waits by for its first turn."""
        wait = _Wait(lambda: True, math.inf)
        self._waits.append(wait)
        return wait.turn.wait

    def pass_on(self) -> None:
        """Drive the twin until a thread can go on, and give it its turn.

        What the twin raises is raised in the thread that waits longest, whichever drives.
        """
        following, error = self._waits[0], None
        try:
            following = self._drive()
        except BaseException as raised:  # raised where it is waited for
            error = raised
        self._waits.remove(following)
        following.error = error
        following.turn.set()

    def _drive(self) -> _Wait:
        """Drive the twin until a thread can go on; return what it waits by."""
        until = min(wait.until for wait in self._waits)
        self._loop.run_until(lambda: any(map(self._can_go_on, self._waits)), until - self._now)
        return next(wait for wait in self._waits if self._can_go_on(wait))

    @property
    def _now(self) -> float:
        return self._loop.time()

    def _can_go_on(self, wait: _Wait) -> bool:
        return bool(wait.is_done()) or self._now >= wait.until

    def _wait(self, is_done: Callable[[], object], seconds: float) -> bool:
        """Wait until something is true, for so many virtual seconds; return whether it is."""
        wait = _Wait(is_done, self._now + seconds)
        self._waits.append(wait)
        self.pass_on()
        wait.turn.wait()
        if wait.error:
            raise wait.error
        return bool(is_done())


class Beside(Generic[T]):
    """Work in a thread of its own.

    Args:
        turns: which it takes.
        work: what it does.
    """

    def __init__(self, turns: Turns, work: Callable[[], T]) -> None:
        self._turns = turns
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, args=(turns.enter(),), daemon=True)
        self._thread.start()

    def done(self) -> bool:
        """Return True if it has ended."""
        return self._has_ended

    def result(self) -> T:
        """Wait until it has ended, and return what it returned, or raise what it raised."""
        self._turns.wait_for(self.done, "what goes on beside")
        self._thread.join()
        if self._error:
            raise self._error
        return self._results[0]

    def _run(self, wait_for_turn: Callable[[], object]) -> None:
        wait_for_turn()
        try:
            self._results.append(self._work())
        except BaseException as error:  # raised where the result is asked for
            self._error = error
        self._has_ended = True
        self._turns.pass_on()
