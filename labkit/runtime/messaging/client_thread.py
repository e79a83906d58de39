"""A thread that makes the blocking calls of a client library, and decides nothing."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar, cast

from labkit.runtime import critical

A = TypeVar("A")


class ClientThread:
    """One thread, in which the calls of one client are made one after another.

    Args:
        name: for people.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        critical.VitalThread(self._make_calls, name).start()

    def call(self, function: Callable[[], A]) -> "asyncio.Future[A]":
        """Make a call, and return a future of its result."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[A] = loop.create_future()

        def make() -> None:
            value, error = _outcome(function)
            settle_soon(loop, result, cast(A, value), error)

        self._calls.put(make)
        return result

    def post(self, function: Callable[[], None]) -> None:
        """Make a call whose result nobody waits for; it must not raise."""
        self._calls.put(function)

    def end(self) -> None:
        """End the thread after the calls that were made."""
        self._calls.put(None)

    def _make_calls(self) -> None:
        while call := self._calls.get():
            call()


def settle_soon(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[A]",
    value: A,
    error: Exception | None,
) -> None:
    """Settle a future of a loop, from any thread."""
    with suppress(RuntimeError):  # the loop is closed, and nobody waits
        loop.call_soon_threadsafe(_settle, future, value, error)


def _settle(future: "asyncio.Future[A]", value: A, error: Exception | None) -> None:
    if future.done():  # whoever waited has gone
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)


def _outcome(function: Callable[[], A]) -> tuple[A | None, Exception | None]:
    try:
        return function(), None
    except Exception as error:
        return None, error
