"""How a tool that is no service calls the services of a running lab."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar

from labkit.home import Home
from labkit.runtime.registry.open import open_registry
from labkit.runtime.rpc.client import Calls

A = TypeVar("A")
_one_at_a_time = threading.Lock()  # or two threads would make a loop each


@asynccontextmanager
async def calls_from(tool: str, home: Home, timeout: float) -> AsyncIterator[Calls]:
    """Calls to a lab's services, for a block.

    Args:
        tool: what it is called in its own errors.
        home: of a running lab, whose settings say where the services are found.
        timeout: seconds that a call has, with all its tries.
    """
    settings = home.settings()
    registry = open_registry(home, settings)
    calls = Calls(tool, registry, home.secret, None, timeout)
    try:
        yield calls
    finally:
        await calls.close()
        await asyncio.to_thread(registry.close)


def run_beside(work: Coroutine[Any, Any, A]) -> A:
    """Run a coroutine from code that is none, also where a loop runs already, as in a notebook."""
    with _one_at_a_time:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(work, loop).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own; gRPC does not bear the end of one."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
