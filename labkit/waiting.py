"""Waits for a condition with a deadline: instead of a fixed sleep or a hand-written loop."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

#: Seconds after which a wait gives up, where the caller names no other time.
TIMEOUT_S = 15.0
#: Seconds between two looks at a condition.
POLL_S = 0.02

T = TypeVar("T")


class BlockingClock(Protocol):
    """A clock that a thread reads and waits by, as the module `time` is one."""

    def monotonic(self) -> float:
        """Return the seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait so many seconds."""
        ...


def wait_until(
    condition: Callable[[], T], what: str, timeout: float = TIMEOUT_S, poll: float = POLL_S
) -> T:
    """Wait until a condition is true and return its value.

    Args:
        condition: called until it returns something true.
        what: the awaited state in words, such as "goods-1 is back"; for the error message.
        timeout: seconds after which the wait fails.
        poll: seconds between two calls of the condition.

    Raises:
        TimeoutError: the condition was not true in time; names the awaited state.
    """
    value = poll_until(condition, timeout, poll)
    if not value:
        raise TimeoutError(f"not within {timeout:g} s: {what}")
    return value


def poll_until(
    condition: Callable[[], T], timeout: float, poll: float = POLL_S, clock: BlockingClock = time
) -> T:
    """Wait until a condition is true; return its value then, or its last value at the timeout.

    For callers that can go on without it, or that raise an error of their own.
    """
    deadline = clock.monotonic() + timeout
    while not (value := condition()) and clock.monotonic() < deadline:
        clock.sleep(poll)
    return value
