"""The process of the pay service, which alone calls a system that is not ours."""

from labkit.payment_api import keys
from labkit.payment_api.http import HttpPoster
from labkit.payment_platform import tables as platform
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.injection.standing import StandingFaults
from labkit.stack.supervisor.run_services import serve_calls
from labkit.stack.supervisor.service_process import ServiceInstance
from labkit.web.platform_client import MAX_CONNECTIONS, PlatformClient


async def run_pay(service: ServiceInstance) -> None:
    """Run the pay service, which alone knows the way to the payment platform, and its key."""
    home, endpoints = service.home, service.home.state()["endpoints"]
    platform_key = keys.public(home.keys, keys.PLATFORM)
    way = NetworkPath(StandingFaults(home.faults), service.name, platform.SERVICE)
    client = PlatformClient(
        endpoints["platform"],
        keys.APP_ID,
        keys.private(home.keys, keys.MERCHANT),
        platform_key,
        notify_url=f"{endpoints['pay-web']}/pay/callback",
        poster=HttpPoster(MAX_CONNECTIONS, service.settings.call_timeout, way),
    )
    await serve_calls(service.runtime({"platform": client, "platform_key": platform_key}))
    await client.close()
