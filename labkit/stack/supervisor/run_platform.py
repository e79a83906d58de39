"""The process of the payment platform."""

from labkit.payment_platform import process as platform
from labkit.stack.supervisor.service_process import ServiceInstance


async def run_platform(service: ServiceInstance) -> None:
    """Run the payment platform, which is not the shop's."""
    await platform.serve(
        service.home, service.settings, service.web_socket, service.number, service.address
    )
