"""How a tool that is no service calls the services of a running lab."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from labkit.home import Home
from labkit.runtime.calls import Calls
from labkit.runtime.registry import open_registry
from labkit.settings import Settings


@asynccontextmanager
async def calls_from(tool: str, home: Home, timeout: float) -> AsyncIterator[Calls]:
    """Calls to a lab's services, for a block.

    Args:
        tool: what it is called in its own errors.
        home: of a running lab, whose settings say where the services are found.
        timeout: seconds that a call has, with all its tries.
    """
    settings = Settings.model_validate_json(home.settings_file.read_text())
    registry = open_registry(home, settings)
    calls = Calls(tool, registry, home.secret, None, timeout)
    try:
        yield calls
    finally:
        await calls.close()
        await asyncio.to_thread(registry.close)
