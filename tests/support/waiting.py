"""Waiting on an event loop, for tests: the product waits there for events, not by looking."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from labkit.waiting import POLL_S, TIMEOUT_S

T = TypeVar("T")


async def wait_until_async(
    condition: Callable[[], T], what: str, timeout: float = TIMEOUT_S, poll: float = POLL_S
) -> T:
    """Wait as `wait_until` does, while the event loop runs on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not (value := condition()):
        if loop.time() >= deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(poll)
    return value
