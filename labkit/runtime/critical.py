"""Threads and tasks that a process cannot do without: one that ends, ends its process.

A process that lives on without one of them is up and answers nothing, for ever, while a supervisor
starts a dead one again in a fraction of a second (crash-only software: Candea and Fox, 2003).
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

log = logging.getLogger(__name__)
A = TypeVar("A")

_EXIT_STATUS = 70  # an internal software error, in sysexits.h
#: Longer than any turn can take whose server hangs, is locked, or is away.
_STUCK_S = 60.0
_threads: "WeakSet[VitalThread]" = WeakSet()


class _Ending:
    """The way in which a process ends."""

    exit: Callable[[int], None] = os._exit


def end_by(exit_: Callable[[int], None]) -> None:
    """End processes in another way from now on, where several of them share a real one."""
    _Ending.exit = staticmethod(exit_)


class VitalThread(threading.Thread):
    """A thread that ends its process if its work raises.

    Args:
        work: the work of the thread; it returns when it was asked to stop.
        name: name of the thread, for people.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, daemon=True, name=name)
        self._busy_since: float | None = None
        _threads.add(self)

    def run(self) -> None:
        """Do the work, and end the process if it raises."""
        try:
            super().run()
        except BaseException as error:  # whatever it was: nobody else would notice
            end_process(self.name, error)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Mark the time of one turn of the work, which must end in time."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    @property
    def is_stuck(self) -> bool:
        """Return True if a turn has taken far too long."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > _STUCK_S


def start_timer(seconds: float, work: Callable[[A], None], argument: A) -> None:
    """Call `work(argument)` later, in a thread that ends the process if it raises."""

    def wait() -> None:
        time.sleep(seconds)
        work(argument)

    VitalThread(wait, "timer").start()


def create_task(work: Coroutine[object, None, None], name: str) -> "asyncio.Task[None]":
    """Start a task that runs until it is cancelled; if it ends otherwise, its process ends."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_see_it_end)
    return task


def stuck() -> list[str]:
    """Return the names of the threads whose turn takes too long, for the health check."""
    return sorted(thread.name for thread in _threads if thread.is_stuck)


def end_process(name: str, error: BaseException | None) -> None:
    """End this process at once, because a part of it that it needs has ended."""
    try:
        log.critical("%s has ended, and so does this process", name, exc_info=error)
    finally:
        _Ending.exit(_EXIT_STATUS)


def _see_it_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        end_process(task.get_name(), task.exception())
