"""Waits end when their condition is true, or at their timeout, and not before."""

import asyncio
from collections.abc import Callable

import pytest

from labkit.waiting import poll_until, wait_until
from tests.support.waiting import wait_until_async


def after(calls: int) -> Callable[[], int]:
    """Return a condition that is true from the call of this number on."""
    count = 0

    def condition() -> int:
        nonlocal count
        count += 1
        return count if count >= calls else 0

    return condition


def test_a_wait_returns_the_first_true_value() -> None:
    """The value of the condition is not lost, whether it is true at once or later."""
    assert wait_until(after(1), "never said", timeout=0) == 1
    assert wait_until(after(3), "never said", timeout=60, poll=0.001) == 3
    assert asyncio.run(wait_until_async(after(3), "never said", timeout=60, poll=0.001)) == 3


def test_a_wait_that_fails_names_what_it_waited_for() -> None:
    """The error says how long the wait was, and for what."""
    with pytest.raises(TimeoutError, match=r"not within 0\.01 s: goods-1 is back"):
        wait_until(lambda: False, "goods-1 is back", timeout=0.01, poll=0.001)
    with pytest.raises(TimeoutError, match=r"not within 0\.01 s: goods-1 is back"):
        asyncio.run(wait_until_async(lambda: False, "goods-1 is back", 0.01, 0.001))


def test_a_poll_returns_the_last_value_at_its_timeout() -> None:
    """Whoever can go on without the condition is told that it was false, and gets no error."""
    assert poll_until(lambda: [], timeout=0.01, poll=0.001) == []
    assert poll_until(after(2), timeout=60, poll=0.001) == 2
