"""Asking a database from a thread, for tests: the product asks from its event loop only."""

import asyncio
import threading
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

from labkit.runtime.db.database import Database
from labkit.runtime.steps import Step

A = TypeVar("A")
C = TypeVar("C")


def submit(database: Database, step: Step[C, A], command: C) -> "Future[A]":
    """Queue a step of a database.

    Args:
        database: no event loop but that of this module may ask it at the same time.
        step: the step; it is queued when this returns.
        command: the command that it is run with.

    Returns:
        A future of the step's answer, for threads.
    """
    answer: Future[A] = Future()

    async def queue() -> None:
        queued = database.ask(step, command, bounded=False)
        queued.add_done_callback(lambda done: _copy(done, answer))

    asyncio.run_coroutine_threadsafe(queue(), _loop()).result()
    return answer


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop of a thread that ends with the tests."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _copy(done: "asyncio.Future[Any]", answer: "Future[Any]") -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
