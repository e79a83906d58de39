"""The processes of services that take calls and messages."""

import asyncio
import signal

from labkit.runtime.service import ServiceRuntime
from labkit.stack.supervisor.service_process import ServiceInstance


async def run_service(service: ServiceInstance) -> None:
    """Run a service that takes calls and messages."""
    await serve_calls(service.runtime())


async def serve_calls(runtime: ServiceRuntime) -> None:
    """Take calls and messages until the process is told to end."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await runtime.start()
    await stopping.wait()
    await runtime.stop()
